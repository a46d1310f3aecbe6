// Turns plans into weights: for each candidate one streaming pass over the resident sources into an
// arena.
#ifndef MERGANSER_WORKER_MERGE_MATERIALIZER_H_
#define MERGANSER_WORKER_MERGE_MATERIALIZER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/merge/arena.h"
#include "worker/merge/block_math.h"
#include "worker/merge/magnitude_index.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/thread_pool.h"

namespace merganser {

struct MaterializerOptions {
  int threads = 1;  // >= 1, the caller's included
  // Values converted and merged at a time by one thread; a multiple of 64 that divides 65536. 4096
  // keeps the blocks of a few sources in the second-level cache. The result does not depend on it.
  int64_t block_elements = 4096;
  // Bound on the memory for complete magnitude orders (TIES: 4 bytes per element, base and source),
  // which make thresholds free; larger tensors get histograms and pay one or two more reads per
  // candidate. Bytes.
  int64_t order_bytes_max = int64_t{512} << 20;
};

// One per job and worker. Not thread-safe: one call at a time (it spreads the work over its own
// threads).
class Materializer {
 public:
  // Reads all weights once to check them. InvalidArgument: options out of range, or a NaN or
  // infinity in a source (names tensor, model and index).
  static absl::StatusOr<std::unique_ptr<Materializer>> Create(
      std::shared_ptr<const MergeSources> sources, const MaterializerOptions& options);

  const std::shared_ptr<const MergeSources>& sources() const { return sources_; }

  // Computes what plans with this method, base and models need of the sources alone (magnitude
  // orders or histograms, norms of task vectors). Kept for the materializer's life. Run does it
  // when it has not been done; a worker calls it while it loads the job, so that the first
  // candidate costs no more than the others.
  void Prepare(const MergePlan& plan);

  // Writes the plan's weights into `arena`. Allocates nothing after Prepare, reads no files but
  // through mapped sources. Equal plans give equal bits, whatever the threads. fp32 arithmetic; the
  // result is rounded to nearest even. InvalidArgument: the plan was built for other sources, the
  // arena has another layout, or a merged value is not finite in the arena's type (names the
  // tensor, the index, the value and the sources' values). Cancelled: `stop` was requested; the
  // arena then holds parts of two candidates.
  absl::Status Run(const MergePlan& plan, Arena& arena, std::stop_token stop = {});

 private:
  // A run of elements of one tensor, the unit of parallel work.
  struct Chunk {
    int tensor;
    int64_t first;
    int64_t count;
  };
  // Per tensor what is known of source - base.
  struct TaskVectorFacts {
    std::vector<MagnitudeIndex> magnitudes;  // empty until a plan needs them
    std::vector<double> l1;                  // empty until a plan needs them
  };
  // Scratch of one thread.
  struct Workspace {
    std::vector<float> floats;
    std::vector<float*> sources;
    float* base;
    float* merged;
    float* scratch;
    std::vector<uint32_t> words;
    std::vector<uint64_t> counters;
  };
  struct CutRequest {
    int tensor;
    int slot;  // index in the plan's models
  };

  Materializer(std::shared_ptr<const MergeSources> sources, const MaterializerOptions& options);

  absl::Status CheckSourcesFinite();
  void PrepareMagnitudes(int base, int model);
  void PrepareL1(int base, int model);
  void SetTerms(const MergePlan& plan);
  absl::Status FindCuts(const MergePlan& plan, std::stop_token stop);
  absl::Status FindScales(const MergePlan& plan, std::stop_token stop);
  bool MergeChunk(const MergePlan& plan, const Chunk& chunk, Workspace& workspace,
                  Arena& arena) const;
  bool CopyChunk(const MergePlan& plan, const Chunk& chunk, Workspace& workspace,
                 Arena& arena) const;
  double KeptL1(const MergePlan& plan, const Chunk& chunk, int slot, Workspace& workspace) const;
  absl::Status DescribeNonFinite(const MergePlan& plan, const Chunk& chunk,
                                 const Arena& arena) const;
  SourceTerm& term(int tensor, int slot) {
    return terms_[static_cast<size_t>(tensor) * slots_ + slot];
  }
  const SourceTerm& term(int tensor, int slot) const {
    return terms_[static_cast<size_t>(tensor) * slots_ + slot];
  }

  const std::shared_ptr<const MergeSources> sources_;
  const MaterializerOptions options_;
  const size_t slots_;  // most sources that a stack may have here
  std::vector<Chunk> chunks_;
  int64_t order_bytes_ = 0;
  std::map<std::pair<int, int>, TaskVectorFacts> facts_;  // by (base, source)
  std::vector<Workspace> workspaces_;
  std::vector<SourceTerm> terms_;         // [tensor][slot], of the current plan
  std::vector<CutRequest> cut_requests_;  // of the current plan
  std::vector<double> partial_l1_;        // [chunk][slot], of the current plan
  ThreadPool pool_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MATERIALIZER_H_

// Turns plans into weights: for each candidate one streaming pass over the resident sources into an
// arena.
#ifndef MERGANSER_WORKER_MERGE_MATERIALIZER_H_
#define MERGANSER_WORKER_MERGE_MATERIALIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/merge/arena.h"
#include "worker/merge/candidate_terms.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/run_sink.h"
#include "worker/merge/source_facts.h"
#include "worker/merge/thread_pool.h"
#include "worker/merge/workspace.h"

namespace merganser {

struct MaterializerOptions {
  int threads = 1;  // >= 1, the caller's included
  // Values converted and merged at a time by one thread; a multiple of 64 that divides 65536. 1024
  // keeps the blocks of a few sources in the first-level cache. The result does not depend on it.
  int64_t block_elements = 1024;
  // Bound on the memory for complete magnitude orders (TIES, breadcrumbs: 4 bytes per element, base
  // and source), which make thresholds free, and for row ranks (DELLA: 2 bytes per element, base and
  // source). Larger tensors get histograms and pay one more read per candidate, or are ranked anew.
  // Bytes.
  int64_t order_bytes_max = int64_t{512} << 20;
  // Bound on the memory for one candidate's random masks as bits (DARE, DELLA with `rescale`: an eighth of a byte per
  // element and source), which spare the merge making them twice. Bytes.
  int64_t mask_bytes_max = int64_t{512} << 20;
  // One plan only is to be run, once: sources are checked as they are merged, and nothing is kept for other candidates.
  bool one_shot = false;
  // Threads to work with instead of own ones (`threads` is then theirs); must outlive the materializer, and nobody else may
  // use them during its calls.
  ThreadPool* pool = nullptr;
};

// One per job and worker. Not thread-safe: one call at a time (it spreads the work over its own
// threads).
class Materializer {
 public:
  // Reads all weights once to check them, unless one_shot. InvalidArgument: options out of range, or a NaN or
  // infinity in a source (names tensor, model and index).
  static absl::StatusOr<std::unique_ptr<Materializer>> Create(std::shared_ptr<const MergeSources> sources,
                                                              const MaterializerOptions& options);

  const std::shared_ptr<const MergeSources>& sources() const { return sources_; }

  // Computes what plans with this method, base and models need of the sources alone (magnitude
  // orders or histograms, norms of task vectors). Kept for the materializer's life. Run does it
  // when it has not been done; a worker calls it while it loads the job, so that the first
  // candidate costs no more than the others.
  void Prepare(const MergePlan& plan);

  // Writes the plan's weights into `arena`. Allocates next to nothing after the first run, reads no files but
  // through mapped sources. Equal plans give equal bits, whatever the threads. fp32 arithmetic; the
  // result is rounded to nearest even. A stack of Arithmetic::kMergekit is computed as mergekit does
  // instead (mergekit/mergekit_arithmetic.h): whole tensors at a time, its random stream from
  // MergePlan::streams on; that allocates, and takes its time. InvalidArgument: the plan was built for other sources, the
  // arena has another layout, or a merged value is not finite in the arena's type (names the
  // tensor, the index, the value and the sources' values); with one_shot also what Create finds otherwise. Cancelled: `stop`
  // was requested; the arena then holds parts of two candidates.
  absl::Status Run(const MergePlan& plan, Arena& arena, std::stop_token stop = {});

  // Run whose results go to `sink`, one run of values after the other (its numbers: RunsOf the sources' layout), so that
  // they need not be in memory together. The same bits. InvalidArgument as Run, and for a plan of Arithmetic::kMergekit.
  // Cancelled also if the sink wants no more.
  absl::Status Stream(const MergePlan& plan, RunSink& sink, std::stop_token stop = {});

  // What Run computes before the values are merged, for whoever merges them elsewhere (worker/device_merge); valid until the
  // next call. REQUIRES: the plan was built for sources(), has a method and Arithmetic::kFp32. InvalidArgument, naming the
  // tensor: the sources have no such combination. Cancelled: `stop` was requested.
  absl::StatusOr<const CandidateTerms*> Resolve(const MergePlan& plan, std::stop_token stop = {});

 private:
  Materializer(std::shared_ptr<const MergeSources> sources, const MaterializerOptions& options);

  absl::Status CheckSources(const MergePlan& plan) const;
  absl::Status CheckSourcesFinite();
  absl::Status StreamChecked(const MergePlan& plan, RunSink& sink, const std::stop_token& stop);
  // These return false if a result (or, with one_shot, a source) is not finite.
  // MergeRun in one pass over stored values, if the run's tensors and the method allow it; else nullopt.
  std::optional<bool> MergeStoredRun(const MergePlan& plan, const TensorRun& run, std::byte* out) const;
  bool MergeRun(const MergePlan& plan, const TensorRun& run, Workspace& workspace, std::byte* out) const;
  bool CopyRun(const MergePlan& plan, const TensorRun& run, Workspace& workspace, std::byte* out) const;
  bool ComputeRun(const MergePlan& plan, const TensorRun& run, Workspace& workspace, std::byte* out) const;
  DType TypeOf(const TensorRun& run) const { return sources_->layout().tensors()[run.tensor].dtype; }
  absl::Status RunLikeMergekit(const MergePlan& plan, Arena& arena, const std::stop_token& stop);
  // The error of a run whose merged values `merged` are not all finite.
  absl::Status DescribeNonFinite(const MergePlan& plan, const TensorRun& run, const std::byte* merged) const;

  const std::shared_ptr<const MergeSources> sources_;
  const MaterializerOptions options_;
  const std::vector<TensorRun> runs_;
  std::vector<Workspace> workspaces_;  // per thread
  CandidateTerms terms_;               // of the current plan
  const std::unique_ptr<ThreadPool> own_pool_;
  ThreadPool& pool_;
  SourceFacts facts_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MATERIALIZER_H_

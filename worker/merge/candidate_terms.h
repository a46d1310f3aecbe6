// What a candidate's kernel needs for every tensor, from its plan and the sources' facts; reused by all candidates.
#ifndef MERGANSER_WORKER_MERGE_CANDIDATE_TERMS_H_
#define MERGANSER_WORKER_MERGE_CANDIDATE_TERMS_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/source_facts.h"
#include "worker/merge/thread_pool.h"
#include "worker/merge/workspace.h"

namespace merganser {

class CandidateTerms {
 public:
  // `mask_bytes_max` bounds the random masks that a pass over the values leaves as bits for the merge itself.
  CandidateTerms(std::shared_ptr<const MergeSources> sources, int64_t mask_bytes_max);

  // Resolves the terms of all tensors: from the settings and `facts`; and, where they depend on a mask, from one pass over
  // the values. REQUIRES: facts are prepared for `plan`, which has a method and must outlive the use of the terms.
  // InvalidArgument, naming the tensor: the sources have no such combination. Cancelled: `stop` was requested.
  absl::Status Resolve(const MergePlan& plan, const SourceFacts& facts, int64_t block_elements, ThreadPool& pool,
                       std::vector<Workspace>& workspaces, std::stop_token stop);

  TensorTerms Of(int tensor) const;

 private:
  // A tensor's share of TensorTerms.
  struct WholeTerm {
    const MergeSettings* settings = nullptr;
    float base_weight = 0;
    VectorShape vectors;
    MagnitudeCut cut;
    float threshold = 0;
  };
  // The cuts of one source (or, of variances, of all) for one tensor.
  struct CutRequest {
    int tensor;
    int slot;  // -1: the tensor's own
  };

  SourceTerm& term(int tensor, int slot) { return terms_[static_cast<size_t>(tensor) * slots_ + slot]; }
  const SourceTerm& term(int tensor, int slot) const { return terms_[static_cast<size_t>(tensor) * slots_ + slot]; }

  void SetTerms(const MergePlan& plan, const SourceFacts& facts);
  absl::Status FindCoefficients(const MergePlan& plan, const SourceFacts& facts);
  // By one pass over the values, if `facts` are of one shot.
  void SearchCutsNow(const MergePlan& plan, ThreadPool& pool, const std::stop_token& stop);
  void FindCuts(const MergePlan& plan, const SourceFacts& facts, ThreadPool& pool, std::vector<Workspace>& workspaces,
                const std::stop_token& stop);
  // Sets kept_scale by the L1 norms of what the masks keep, and mask_bits as far as there is room.
  void FindScales(const MergePlan& plan, const SourceFacts& facts, int64_t block_elements, ThreadPool& pool,
                  std::vector<Workspace>& workspaces, const std::stop_token& stop);
  void MakeRoomForMasks(const MergePlan& plan);
  // The sums of one run for all slots that are rescaled.
  void SumRun(const MergePlan& plan, const SourceFacts& facts, size_t run, int64_t block_elements, Workspace& workspace);
  bool Rescaled(const MergePlan& plan, int tensor, int slot) const;
  // Sets sce's weights by the mean squares of what its cut keeps.
  void FindEnergies(const MergePlan& plan, int64_t block_elements, ThreadPool& pool, std::vector<Workspace>& workspaces,
                    const std::stop_token& stop);

  const std::shared_ptr<const MergeSources> sources_;
  const size_t slots_;  // most sources that a stack may have here
  const std::vector<TensorRun> runs_;
  std::vector<SourceTerm> terms_;  // [tensor][slot]
  std::vector<WholeTerm> whole_;   // [tensor]
  size_t used_ = 0;                // slots of the current plan
  std::vector<CutRequest> cut_requests_;
  std::vector<double> partial_sums_;  // [run][slot]
  std::vector<double> whole_sums_;    // ... of what is not thinned, where the facts do not have it
  const int64_t mask_bytes_max_;
  std::vector<uint8_t> mask_bits_;
  std::vector<int64_t> mask_at_;                  // [tensor][slot]: byte in mask_bits_, or -1
  std::vector<std::vector<float>> coefficients_;  // [tensor]: of several vectors, [slot][vector]
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_CANDIDATE_TERMS_H_

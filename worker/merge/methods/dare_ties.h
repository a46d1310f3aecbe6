// dare_ties: task vectors thinned at random as by dare_linear, merged where their signs agree as by
// ties (without its trimming). Yu et al., 2024, arXiv:2311.03099; Yadav et al., 2023,
// arXiv:2306.01708.
//   d_i as in dare_linear; s, y and Z as in ties. rescale is on by default, normalize off.
#ifndef MERGANSER_WORKER_MERGE_METHODS_DARE_TIES_H_
#define MERGANSER_WORKER_MERGE_METHODS_DARE_TIES_H_

#include "worker/merge/merge_method.h"

namespace merganser {

class DareTies final : public MergeMethod {
 public:
  absl::string_view name() const override { return "dare_ties"; }
  Statistic statistic() const override { return Statistic::kRandomMask; }
  bool default_rescale() const override { return true; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_DARE_TIES_H_

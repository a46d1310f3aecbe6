// dare_linear: task vectors thinned at random, then added up (Yu et al., "Language models are super
// Mario", 2024, arXiv:2311.03099).
//   d_i = w_i r_i mask_i (x_i - base), mask_i ~ Bernoulli(density) (masks.h);
//   r_i = |x_i - base|_1 / |mask_i (x_i - base)|_1 over the tensor if rescale (the default; 1 if
//   either norm is below 1e-7),
//         else 1. This is mergekit's rule; the paper has 1 / density, which is what r_i tends to;
//   y   = base + lambda sum_i d_i / Z,   Z = sum_i w_i if normalize (default off) and |sum_i w_i|
//   >= 1e-8, else 1.
#ifndef MERGANSER_WORKER_MERGE_METHODS_DARE_LINEAR_H_
#define MERGANSER_WORKER_MERGE_METHODS_DARE_LINEAR_H_

#include "worker/merge/merge_method.h"

namespace merganser {

class DareLinear final : public MergeMethod {
 public:
  absl::string_view name() const override { return "dare_linear"; }
  Statistic statistic() const override { return Statistic::kRandomMask; }
  bool default_rescale() const override { return true; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_DARE_LINEAR_H_

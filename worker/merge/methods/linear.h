// linear: a weighted mean of the sources (Wortsman et al., "Model soups", 2022, arXiv:2203.05482).
//   y = sum_i w_i x_i / Z,   Z = sum_i w_i if normalize (the default), else 1.
// Takes no base. Weights may be negative; with normalize their sum must not be 0.
#ifndef MERGANSER_WORKER_MERGE_METHODS_LINEAR_H_
#define MERGANSER_WORKER_MERGE_METHODS_LINEAR_H_

#include "worker/merge/merge_method.h"

namespace merganser {

class Linear final : public MergeMethod {
 public:
  absl::string_view name() const override { return "linear"; }
  bool default_normalize() const override { return true; }
  bool divides_by_weight_sum() const override { return true; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_LINEAR_H_

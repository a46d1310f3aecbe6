// Methods whose result is a linear combination of the sources with coefficients that follow from their dot products: one
// pass over the values per candidate, whatever the geometry.
#ifndef MERGANSER_WORKER_MERGE_METHODS_COMBINATION_H_
#define MERGANSER_WORKER_MERGE_METHODS_COMBINATION_H_

#include "worker/merge/merge_method.h"

namespace merganser {

class Combination : public MergeMethod {
 public:
  using MergeMethod::MergeMethod;

  Statistic statistic() const override { return Statistic::kProducts; }
  // y = base + sum_i c_i (x_i - base) over task vectors, sum_i c_i x_i over models (a base is one of them).
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override;
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override;
};

// Coefficients of spherical interpolation from a to b, `cosine` being that of the angle between them.
struct Slerp2 {
  double a, b;
  // cosine in (-1, 1).
  static Slerp2 At(double t, double cosine);
  static Slerp2 Straight(double t) { return {1 - t, t}; }
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_COMBINATION_H_

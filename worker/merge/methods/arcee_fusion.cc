// arcee_fusion: takes over the changes that matter most (Goddard and others, MergeKit's "Arcee Fusion", 2025).
//   I = |x - base| KL(softmax(x) || softmax(base)), softmax and divergence along the last dimension, with 1e-8 added to each
//       probability;
//   y = x where I >= q2 + 1.5 (q3 - q1), else base; q1, q2, q3: elements int(n' / 4), int(n' / 2), int(3 n' / 4) of the
//       tensor's scores in ascending order, n' = n - 1. (mergekit takes them from a random sample of a million scores where
//       there are more.)
// Takes no parameters.
#include <algorithm>
#include <cmath>

#include "worker/merge/merge_method.h"
#include "worker/merge/methods/all_methods.h"

namespace merganser {
namespace {

class ArceeFusion final : public MergeMethod {
 public:
  ArceeFusion() : MergeMethod("arcee_fusion") {}
  Statistic statistic() const override { return Statistic::kFusion; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    const float* divergence = terms.sources[0].row_factors;
    for (int64_t at = 0, n; at < block.count; at += n) {
      const int64_t row = terms.vectors.VectorOf(block.first + at);
      n = std::min(block.count - at, (row + 1) * terms.vectors.length - block.first - at);
      for (int64_t i = at; i < at + n; ++i) {
        const float base = block.base[i], x = block.sources[0][i];
        out[i] = std::fabs(x - base) * divergence[row] >= terms.threshold ? x : base;
      }
    }
  }
};

}  // namespace

const MergeMethod* NewArceeFusion() { return new ArceeFusion; }

}  // namespace merganser

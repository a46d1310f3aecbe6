// dare_linear: task vectors thinned at random, then added up (Yu et al., "Language models are super Mario", 2024,
// arXiv:2311.03099).
//   d_i = w_i r_i mask_i (x_i - base), mask_i ~ Bernoulli(density) (masks.h);
//   r_i = |x_i - base|_1 / |mask_i (x_i - base)|_1 over the tensor if rescale (the default; 1 if either norm is below 1e-7):
//         mergekit's rule; 1 / density if rescale_by_density: the paper's, which the other tends to; else 1;
//   y   = base + lambda sum_i d_i / Z,   Z = sum_i w_i if normalize (default off) and |sum_i w_i| >= 1e-8, else 1.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class DareLinear final : public MergeMethod {
 public:
  DareLinear() : MergeMethod("dare_linear") {}
  Statistic statistic() const override { return Statistic::kRandomMask; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    for (size_t s = 0; s < terms.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], block, s);
    AddUp(terms, block, out);
    AddPlainSum(terms, block, out);
  }
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override {
    return MergeMaskedBF16(MaskedSum::kPlain, terms, block);
  }
};

}  // namespace

const MergeMethod* NewDareLinear() { return new DareLinear; }

}  // namespace merganser

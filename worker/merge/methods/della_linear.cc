// della_linear: task vectors thinned at random, large elements less than small ones, then added up (Deep et al.,
// "DELLA-Merging", 2024, arXiv:2406.11617).
//   d_i = w_i r_i mask_i (x_i - base), mask_i ~ Bernoulli(p) (masks.h), where p grows with the rank of |x_i - base| in its
//         row (along dimension 1; a tensor of one dimension is one row), equal magnitudes ranked by index:
//   p   = (density - epsilon) + 2 epsilon (rank - 1) / (n - 1); density 1 keeps all, 0 none,
//         else 0 < density +- epsilon < 1;
//   r_i = |x_i - base|_1 / |mask_i (x_i - base)|_1 over the tensor if rescale (the default; 1 if either norm is below 1e-7):
//         mergekit's rule; 1 / p, element by element, if rescale_by_density: the paper's; else 1;
//   y   = base + lambda sum_i d_i / Z,   Z = sum_i w_i if normalize (default off) and |sum_i w_i| >= 1e-8, else 1.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class DellaLinear final : public MergeMethod {
 public:
  DellaLinear() : MergeMethod("della_linear") {}
  Statistic statistic() const override { return Statistic::kRankedMask; }
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

const MergeMethod* NewDellaLinear() { return new DellaLinear; }

}  // namespace merganser

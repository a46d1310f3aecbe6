// ties: task vectors trimmed by magnitude, merged where their signs agree (Yadav et al., "TIES-Merging", 2023,
// arXiv:2306.01708).
//   d_i = w_i r_i trim(x_i - base): per tensor and source only the k = max(1, int(density n)) elements of largest magnitude
//         stay, of equal ones those with the lowest index (mergekit leaves that order open); density 0 keeps none;
//   r_i = |x_i - base|_1 / |trim(x_i - base)|_1 over the tensor if rescale (default off; 1 if either norm is below 1e-7),
//         else 1;
//   s   = + where sum_i d_i >= 0, else -;
//   y   = base + lambda sum_{i: sign(d_i) = s} d_i / Z,   Z = the sum of the agreeing w_i (1 where it is 0) if normalize
//         (the default), else 1.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class Ties final : public MergeMethod {
 public:
  Ties() : MergeMethod("ties") {}
  Statistic statistic() const override { return Statistic::kMagnitudeCut; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    for (size_t s = 0; s < terms.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], block, s);
    MergeBySign(terms, block, out);
  }
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override {
    return MergeTrimmedBF16(terms, block);
  }
};

}  // namespace

const MergeMethod* NewTies() { return new Ties; }

}  // namespace merganser

// dare_ties: task vectors thinned at random as by dare_linear, merged where their signs agree as by ties (without its
// trimming). Yu et al., 2024, arXiv:2311.03099; Yadav et al., 2023, arXiv:2306.01708.
//   d_i as in dare_linear; s, y and Z as in ties. rescale is on by default, normalize off.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class DareTies final : public MergeMethod {
 public:
  DareTies() : MergeMethod("dare_ties") {}
  Statistic statistic() const override { return Statistic::kRandomMask; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    for (size_t s = 0; s < terms.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], block, s);
    MergeBySign(terms, block, out);
  }
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override {
    return MergeMaskedBF16(MaskedSum::kBySign, terms, block);
  }
};

}  // namespace

const MergeMethod* NewDareTies() { return new DareTies; }

}  // namespace merganser

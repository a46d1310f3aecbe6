// della: task vectors thinned at random as by della_linear, merged where their signs agree as by ties (without its
// trimming). Deep et al., 2024, arXiv:2406.11617.
//   d_i as in della_linear; s, y and Z as in ties. rescale and normalize are on by default.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class Della final : public MergeMethod {
 public:
  Della() : MergeMethod("della") {}
  Statistic statistic() const override { return Statistic::kRankedMask; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    for (size_t s = 0; s < terms.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], block, s);
    MergeBySign(terms, block, out);
  }
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override {
    return MergeMaskedBF16(MaskedSum::kBySign, terms, block);
  }
};

}  // namespace

const MergeMethod* NewDella() { return new Della; }

}  // namespace merganser

// breadcrumbs_ties: task vectors thinned as by breadcrumbs, merged where their signs agree as by ties. Davari and
// Belilovsky, 2023, arXiv:2312.06795; Yadav et al., 2023, arXiv:2306.01708.
//   d_i as in breadcrumbs; s, y and Z as in ties. rescale and normalize are off by default.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class BreadcrumbsTies final : public MergeMethod {
 public:
  BreadcrumbsTies() : MergeMethod("breadcrumbs_ties") {}
  Statistic statistic() const override { return Statistic::kMagnitudeBand; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    for (size_t s = 0; s < terms.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], block, s);
    MergeBySign(terms, block, out);
  }
};

}  // namespace

const MergeMethod* NewBreadcrumbsTies() { return new BreadcrumbsTies; }

}  // namespace merganser

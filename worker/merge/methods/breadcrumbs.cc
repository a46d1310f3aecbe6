// breadcrumbs: task vectors without their smallest and their very largest elements, added up (Davari and Belilovsky, "Model
// Breadcrumbs", 2023, arXiv:2312.06795).
//   d_i = w_i r_i band(x_i - base): of the n elements in ascending order of magnitude (equal ones: higher index first) those
//         at positions [lo, lo + t) stay, t = int(density n), lo = max(0, n - t - int(gamma n)); density 1 keeps all;
//   r_i = |x_i - base|_1 / |band(x_i - base)|_1 over the tensor if rescale (default off; 1 if either norm is below 1e-7),
//         else 1;
//   y   = base + lambda sum_i d_i / Z,   Z = sum_i w_i if normalize (default off) and |sum_i w_i| >= 1e-8, else 1.
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class Breadcrumbs final : public MergeMethod {
 public:
  Breadcrumbs() : MergeMethod("breadcrumbs") {}
  Statistic statistic() const override { return Statistic::kMagnitudeBand; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    for (size_t s = 0; s < terms.sources.size(); ++s) ThinnedTaskVector(terms.sources[s], block, s);
    AddUp(terms, block, out);
    AddPlainSum(terms, block, out);
  }
};

}  // namespace

const MergeMethod* NewBreadcrumbs() { return new Breadcrumbs; }

}  // namespace merganser

// model_stock: the sources' mean, drawn towards the base as far as their task vectors disagree (Jang et al., "Model Stock",
// 2024, arXiv:2403.19522).
//   d_i = x_i - base;   c = mean over pairs i < j of clamp(<d_i, d_j> / max(|d_i| |d_j|, 1e-6), -1, 1);   N sources;
//   t = N c / (1 + (N - 1) c), 0 where |1 + (N - 1) c| < 1e-6;   y = t mean_i(x_i) + (1 - t) base.
// A tensor is one vector; if filter_wise, each of its runs along the last dimension. No weights.
#include <algorithm>
#include <cmath>

#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/combination.h"

namespace merganser {
namespace {

class ModelStock final : public Combination {
 public:
  ModelStock() : Combination("model_stock") {}

  VectorScope vector_scope(const MergeSettings& settings) const override {
    return settings.Get("filter_wise") != 0 ? VectorScope::kLastDimension : VectorScope::kTensor;
  }

  absl::Status Combine(const MergeSettings&, const Products& products, bool,
                       absl::Span<double> coefficients) const override {
    const int n = products.n;
    double cosines = 0;
    for (int i = 0; i < n; ++i) {
      for (int j = i + 1; j < n; ++j) {
        const double norms = std::sqrt(products.At(i, i)) * std::sqrt(products.At(j, j));
        cosines += std::clamp(products.At(i, j) / std::max(norms, 1e-6), -1.0, 1.0);
      }
    }
    const double cosine = cosines / (n * (n - 1) / 2.0);
    const double denominator = 1 + (n - 1) * cosine;
    const double t = std::fabs(denominator) < 1e-6 ? 0 : n * cosine / denominator;
    std::fill(coefficients.begin(), coefficients.end(), t / n);
    return absl::OkStatus();
  }
};

}  // namespace

const MergeMethod* NewModelStock() { return new ModelStock; }

}  // namespace merganser

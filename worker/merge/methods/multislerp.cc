// multislerp: barycentric interpolation on a sphere, in the tangent space at the sources' weighted mean; of their task
// vectors where there is a base (Goddard, "Multi-SLERP: wow, what a cool idea", 2025).
//   w_i divided by their sum if normalize_weights (the default);
//   u_i = x_i / (|x_i| + eps);   m = sum_i w_i u_i / |sum_i w_i u_i|;
//   T   = sum_i w_i (u_i - <u_i, m> m);   r = |T| + eps;
//   y   = (cos r m + (sin r / r) T) sum_i w_i |x_i|.
// Where |sum_i w_i u_i| < eps: sum_i w_i x_i for two sources, an error for more. One source is returned as it is.
#include <cmath>
#include <vector>

#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/combination.h"

namespace merganser {
namespace {

// |sum_i a_i v_i| of the vectors of `products`.
double Length(const Products& products, absl::Span<const double> a) {
  double square = 0;
  for (int i = 0; i < products.n; ++i) {
    for (int j = 0; j < products.n; ++j) square += a[i] * a[j] * products.At(i, j);
  }
  return std::sqrt(std::max(square, 0.0));
}

class Multislerp final : public Combination {
 public:
  Multislerp() : Combination("multislerp") {}

  absl::Status Combine(const MergeSettings& settings, const Products& products, bool,
                       absl::Span<double> coefficients) const override {
    const int n = products.n;
    if (n == 1) {
      coefficients[0] = 1;
      return absl::OkStatus();
    }
    const double eps = settings.Get("eps");
    double total = 0;
    for (const double weight : settings.weights) total += weight;
    const bool normalize = settings.Get("normalize_weights") != 0;
    if (normalize && total == 0)
      return absl::InvalidArgumentError("the weights sum to 0, and normalize_weights divides by it");
    std::vector<double> w(n), length(n), mean(n), tangent(n);
    double mean_length = 0;
    for (int i = 0; i < n; ++i) {
      w[i] = settings.weights[i] / (normalize ? total : 1);
      length[i] = std::sqrt(products.At(i, i));
      mean[i] = w[i] / (length[i] + eps);
      mean_length += w[i] * length[i];
    }
    const double middle = Length(products, mean);
    if (middle < eps) {
      if (n == 2) {
        for (int i = 0; i < n; ++i) coefficients[i] = w[i];
        return absl::OkStatus();
      }
      return absl::InvalidArgumentError("the weighted directions of the sources cancel out, so multislerp has no middle");
    }
    for (double& a : mean) a /= middle;
    double along = 0;  // of m in T
    for (int i = 0; i < n; ++i) {
      double dot = 0;
      for (int j = 0; j < n; ++j) dot += mean[j] * products.At(i, j);
      tangent[i] = w[i] / (length[i] + eps);
      along += tangent[i] * dot;
    }
    for (int i = 0; i < n; ++i) tangent[i] -= along * mean[i];
    const double r = Length(products, tangent) + eps;
    // eps 0 and a middle that is every source's: sin r / r is 1.
    const double turn = r == 0 ? 1 : std::sin(r) / r;
    for (int i = 0; i < n; ++i) coefficients[i] = (std::cos(r) * mean[i] + turn * tangent[i]) * mean_length;
    return absl::OkStatus();
  }
};

}  // namespace

const MergeMethod* NewMultislerp() { return new Multislerp; }

}  // namespace merganser

// karcher: the mean of the sources' directions on the sphere, times their mean norm (Karcher, "Riemannian center of mass and
// mollifier smoothing", 1977; of models: arXiv:2603.04972).
//   u_i = x_i / |x_i| for the sources with |x_i| > tol, a_i = 1 / their number;
//   m = sum_i a_i u_i / |sum_i a_i u_i|   (u_1 where that norm is below tol);
//   at most max_iter times:  T = sum_i a_i (o_i / sin o_i) (u_i - cos o_i m), cos o_i = <u_i, m>, without the o_i below tol;
//       stop where |T| < tol;  m = cos|T| m + (sin|T| / |T|) T;
//   y = m sum_i |x_i| / (number of all sources);  0 if no source is longer than tol. One source is returned as it is.
// Takes no base: a base is one more source. No weights.
#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/combination.h"

namespace merganser {
namespace {

// Vectors as coefficients over the sources' unit vectors.
class UnitSpace {
 public:
  UnitSpace(const Products& products, const std::vector<double>& length) : products_(products), length_(length) {}

  double Dot(const std::vector<double>& a, const std::vector<double>& b) const {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      for (size_t j = 0; j < b.size(); ++j) {
        if (a[i] != 0 && b[j] != 0) sum += a[i] * b[j] * Cosine(static_cast<int>(i), static_cast<int>(j));
      }
    }
    return sum;
  }
  double Norm(const std::vector<double>& a) const { return std::sqrt(std::max(Dot(a, a), 0.0)); }

 private:
  double Cosine(int i, int j) const { return i == j ? 1.0 : products_.At(i, j) / (length_[i] * length_[j]); }

  const Products& products_;
  const std::vector<double>& length_;
};

class Karcher final : public Combination {
 public:
  Karcher() : Combination("karcher") {}

  absl::Status Combine(const MergeSettings& settings, const Products& products, bool,
                       absl::Span<double> coefficients) const override {
    const int n = products.n;
    std::fill(coefficients.begin(), coefficients.end(), 0.0);
    if (n == 1) {
      coefficients[0] = 1;
      return absl::OkStatus();
    }
    const double tol = settings.Get("tol");
    std::vector<double> length(n);
    std::vector<int> longer;
    double mean_length = 0;
    for (int i = 0; i < n; ++i) {
      length[i] = std::sqrt(products.At(i, i));
      mean_length += length[i] / n;
      if (length[i] > tol) longer.push_back(i);
    }
    if (longer.empty()) return absl::OkStatus();
    const UnitSpace space(products, length);
    const double share = 1.0 / static_cast<double>(longer.size());
    std::vector<double> mean(n), unit(n);
    for (const int i : longer) mean[i] = share;
    const double middle = space.Norm(mean);
    if (middle < tol) {
      std::fill(mean.begin(), mean.end(), 0.0);
      mean[longer[0]] = 1;
    } else {
      for (double& a : mean) a /= middle;
    }
    for (int round = 0; round < static_cast<int>(settings.Get("max_iter")); ++round) {
      std::vector<double> tangent(n);
      for (const int i : longer) {
        std::fill(unit.begin(), unit.end(), 0.0);
        unit[i] = 1;
        const double cosine = std::clamp(space.Dot(unit, mean), -1.0, 1.0);
        const double angle = std::acos(cosine);
        if (angle < tol) continue;
        const double scale = share * angle / std::sin(angle);
        tangent[i] += scale;
        for (int j = 0; j < n; ++j) tangent[j] -= scale * cosine * mean[j];
      }
      const double step = space.Norm(tangent);
      if (step < tol) break;
      for (int j = 0; j < n; ++j) mean[j] = std::cos(step) * mean[j] + std::sin(step) / step * tangent[j];
      const double norm = space.Norm(mean);
      if (norm > tol) {
        for (double& a : mean) a /= norm;
      }
    }
    for (const int i : longer) coefficients[i] = mean[i] / length[i] * mean_length;
    return absl::OkStatus();
  }
};

}  // namespace

const MergeMethod* NewKarcher() { return new Karcher; }

}  // namespace merganser

// nuslerp: spherical interpolation between two sources by their weights; of their task vectors where there is a base
// (MergeKit's NuSLERP, 2024).
//   t = w_2 / (w_1 + w_2), 1/2 where |w_1 + w_2| < 1e-6;   cos a = <x_1, x_2> / (|x_1| |x_2|), norms of at least 1e-7;
//   y = (sin((1 - t) a) x_1 + sin(t a) x_2) / sin a,   or (1 - t) x_1 + t x_2 where 1 - cos^2 a <= 1e-14.
// nuslerp_flatten (the default): a tensor is one vector. Else its runs along the last dimension are vectors of their own,
// or, if nuslerp_row_wise, those along the first.
#include <algorithm>
#include <cmath>

#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/combination.h"

namespace merganser {
namespace {

class Nuslerp final : public Combination {
 public:
  Nuslerp() : Combination("nuslerp") {}

  VectorScope vector_scope(const MergeSettings& settings) const override {
    return settings.Get("nuslerp_flatten") != 0    ? VectorScope::kTensor
           : settings.Get("nuslerp_row_wise") != 0 ? VectorScope::kFirstDimension
                                                   : VectorScope::kLastDimension;
  }

  absl::Status Combine(const MergeSettings& settings, const Products& products, bool,
                       absl::Span<double> coefficients) const override {
    const auto norm = [&](int i) { return std::max(std::sqrt(products.At(i, i)), 1e-7); };
    const double total = settings.weights[0] + settings.weights[1];
    const double t = std::fabs(total) < 1e-6 ? 0.5 : settings.weights[1] / total;
    const double cosine = std::clamp(products.At(0, 1) / (norm(0) * norm(1)), -1.0, 1.0);
    // What fp64 products cannot tell from colinear: their cosine is good to about 1e-15.
    constexpr double kStraightBelow = 1e-14;
    const Slerp2 c = 1 - cosine * cosine <= kStraightBelow ? Slerp2::Straight(t) : Slerp2::At(t, cosine);
    coefficients[0] = c.a;
    coefficients[1] = c.b;
    return absl::OkStatus();
  }
};

}  // namespace

const MergeMethod* NewNuslerp() { return new Nuslerp; }

}  // namespace merganser

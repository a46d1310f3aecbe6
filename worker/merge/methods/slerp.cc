// slerp: spherical interpolation from the base to the source (Shoemake, "Animating rotation with quaternion curves", 1985).
//   cos a = <b, x> / (|b| |x|), b the base, both whole tensors as one vector (a norm below 1e-8 counts as 1);
//   y = (sin((1 - t) a) b + sin(t a) x) / sin a,   or (1 - t) b + t x where |cos a| > 0.9995.
#include <algorithm>
#include <cmath>

#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/combination.h"

namespace merganser {
namespace {

class Slerp final : public Combination {
 public:
  Slerp() : Combination("slerp") {}
  ProductsOf products_of() const override { return ProductsOf::kModels; }

  absl::Status Combine(const MergeSettings& settings, const Products& products, bool,
                       absl::Span<double> coefficients) const override {
    constexpr double kStraightAbove = 0.9995;
    const auto norm = [&](int i) {
      const double length = std::sqrt(products.At(i, i));
      return length > 1e-8 ? length : 1.0;
    };
    const double t = settings.Get("t");
    const double cosine = std::clamp(products.At(0, 1) / (norm(0) * norm(1)), -1.0, 1.0);
    const Slerp2 c = std::fabs(cosine) > kStraightAbove ? Slerp2::Straight(t) : Slerp2::At(t, cosine);
    coefficients[0] = c.a;
    coefficients[1] = c.b;
    return absl::OkStatus();
  }
};

}  // namespace

const MergeMethod* NewSlerp() { return new Slerp; }

}  // namespace merganser

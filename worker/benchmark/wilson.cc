#include "worker/benchmark/wilson.h"

#include <algorithm>
#include <cmath>

namespace merganser {

ProportionInterval WilsonInterval(double successes, int64_t n) {
  if (n <= 0) return {};
  constexpr double z = 1.959963984540054;  // the normal distribution's 0.975 quantile
  const double share = successes / n;
  const double z2n = z * z / n;
  const double centre = (share + z2n / 2) / (1 + z2n);
  const double half = z / (1 + z2n) * std::sqrt(share * (1 - share) / n + z2n / (4 * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace merganser

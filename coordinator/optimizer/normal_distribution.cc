#include "coordinator/optimizer/normal_distribution.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace merganser {

double NormalDensity(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi); }

double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double NormalQuantile(double p) {
  if (p > 0.5) return -NormalQuantile(1 - p);
  // Abramowitz and Stegun 26.2.23 (error 4.5e-4), then Halley's steps: three digits become all.
  const double t = std::sqrt(-2 * std::log(p));
  double x = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))));
  for (int i = 0; i < 3; ++i) {
    const double step = (NormalCdf(x) - p) / std::max(NormalDensity(x), 1e-300);
    x -= step / (1 + 0.5 * x * step);
  }
  return x;
}

}  // namespace merganser

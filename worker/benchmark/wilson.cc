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

MetricInterval IntervalOf(const std::map<std::string, double>& metrics, const std::string& name, int64_t n) {
  const double value = metrics.at(name);
  const auto error = metrics.find(name + "_stderr");
  MetricInterval interval;
  if (error != metrics.end()) {
    constexpr double z = 1.959963984540054;
    interval.standard_error = error->second;
    interval.low = value - z * error->second;
    interval.high = value + z * error->second;
    return interval;
  }
  const ProportionInterval wilson = WilsonInterval(value * static_cast<double>(n), n);
  interval.low = wilson.low;
  interval.high = wilson.high;
  if (n > 1) interval.standard_error = std::sqrt(std::max(0.0, value * (1 - value)) / static_cast<double>(n - 1));
  return interval;
}

}  // namespace merganser

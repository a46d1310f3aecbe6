#include "worker/benchmark/paired_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace merganser {
namespace {

// numpy.percentile's default. REQUIRES: sorted, not empty.
double QuantileOf(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

double McNemarExact(int64_t only_a, int64_t only_b) {
  const int64_t n = only_a + only_b, smaller = std::min(only_a, only_b);
  if (only_a == only_b) return 1;
  // By logarithms, for 2^-n underflows from some thousand samples on.
  const double total = std::lgamma(static_cast<double>(n) + 1) - static_cast<double>(n) * std::log(2.0);
  double tail = 0;
  for (int64_t k = 0; k <= smaller; ++k) {
    tail += std::exp(total - std::lgamma(static_cast<double>(k) + 1) - std::lgamma(static_cast<double>(n - k) + 1));
  }
  return std::min(1.0, 2 * tail);
}

BootstrapEstimate BootstrapOf(std::vector<double> differences) {
  std::sort(differences.begin(), differences.end());
  BootstrapEstimate estimate;
  estimate.low = QuantileOf(differences, 0.025);
  estimate.high = QuantileOf(differences, 0.975);
  const auto not_above = std::upper_bound(differences.begin(), differences.end(), 0.0) - differences.begin();
  const auto not_below = differences.end() - std::lower_bound(differences.begin(), differences.end(), 0.0);
  const auto fewer = static_cast<double>(std::min<std::ptrdiff_t>(not_above, not_below));
  estimate.p = std::min(1.0, 2 * (1 + fewer) / (1 + static_cast<double>(differences.size())));
  return estimate;
}

std::vector<double> HolmAdjusted(const std::vector<double>& p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(p.size() - rank) * p[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

}  // namespace merganser

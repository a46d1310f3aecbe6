// Tests of whether two models differ that answered the same samples.
#ifndef MERGANSER_WORKER_BENCHMARK_PAIRED_STATISTICS_H_
#define MERGANSER_WORKER_BENCHMARK_PAIRED_STATISTICS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace merganser {

// McNemar's exact test, two-sided: the probability, if both models are equally good, of a split of the samples that only one
// of them got right at least as uneven as (only_a, only_b); each falls to either side with 1/2. 1 if there are none.
double McNemarExact(int64_t only_a, int64_t only_b);

struct BootstrapEstimate {
  double low = 0, high = 0;  // the 2.5 % and 97.5 % percentiles, between neighbours as numpy.percentile has it
  // Two-sided: twice the smaller share of resampled differences that are not on one side of 0, counting the sample itself,
  // 2 (1 + min(#{d <= 0}, #{d >= 0})) / (1 + number of resamplings), at most 1. So p is below 0.05 where the interval leaves
  // out 0, but for rounding.
  double p = 1;
};

// Of the differences that resampling gave, in any order. REQUIRES: not empty.
BootstrapEstimate BootstrapOf(std::vector<double> differences);

// Holm's step-down adjustment of several p values (Holm 1979): each may be compared with the level for all of them together.
// In the order of `p`; at most 1.
std::vector<double> HolmAdjusted(const std::vector<double>& p);

// Two models and one metric; see Compare in comparison.h.
struct PairedDifference {
  int first = 0, second = 0;  // models, by their place
  std::string metric;
  double difference = 0;     // the first's value minus the second's
  double low = 0, high = 0;  // 95 %: percentiles of the paired bootstrap
  // Two-sided. Where the metric is a mean of values that are all 0 or 1: McNemar's exact test; else the paired bootstrap's.
  double p = 1;
  bool mcnemar = false;
  std::optional<double> p_holm;  // over the pairs of models, for this metric; with more than two models
};

constexpr int kComparisonResamplings = 10'000;

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_PAIRED_STATISTICS_H_

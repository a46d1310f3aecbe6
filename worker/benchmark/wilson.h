// 95 % intervals of metrics: Wilson's of a proportion, the normal one of others.
#ifndef MERGANSER_WORKER_BENCHMARK_WILSON_H_
#define MERGANSER_WORKER_BENCHMARK_WILSON_H_

#include <cstdint>
#include <map>
#include <string>

namespace merganser {

struct ProportionInterval {
  double low = 0;
  double high = 1;
};

// The 95 % interval of a proportion of which `successes` of `n` were seen (Wilson 1927): inside [0,
// 1], and sensible for few samples and for shares near 0 or 1. `successes` may be a sum of shares.
// n = 0 gives [0, 1]. REQUIRES: 0 <= successes <= n.
ProportionInterval WilsonInterval(double successes, int64_t n);

struct MetricInterval {
  double low = 0;
  double high = 0;
  double standard_error = 0;
};

// Of the metric `name` of `metrics`, which is of `n` samples: value +- 1.96 standard errors where `metrics` has
// "NAME_stderr" (see Metrics in aggregate.h); else it is a proportion: Wilson's interval, and sqrt(p (1 - p) / (n - 1)).
// REQUIRES: `metrics` has `name`.
MetricInterval IntervalOf(const std::map<std::string, double>& metrics, const std::string& name, int64_t n);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_WILSON_H_

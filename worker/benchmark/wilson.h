// The Wilson score interval of a proportion.
#ifndef MERGANSER_WORKER_BENCHMARK_WILSON_H_
#define MERGANSER_WORKER_BENCHMARK_WILSON_H_

#include <cstdint>

namespace merganser {

struct ProportionInterval {
  double low = 0;
  double high = 1;
};

// The 95 % interval of a proportion of which `successes` of `n` were seen (Wilson 1927): inside [0,
// 1], and sensible for few samples and for shares near 0 or 1. `successes` may be a sum of shares.
// n = 0 gives [0, 1]. REQUIRES: 0 <= successes <= n.
ProportionInterval WilsonInterval(double successes, int64_t n);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_WILSON_H_

// The metrics of an average, and of which of its members' metrics each is the mean.
#ifndef MERGANSER_WORKER_BENCHMARK_AVERAGE_METRICS_H_
#define MERGANSER_WORKER_BENCHMARK_AVERAGE_METRICS_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "worker/benchmark/definition.h"

namespace merganser {

struct AverageKey {
  std::string name;             // "average", "acc", "exact_match@strict"
  bool by_size = false;         // a member weighs as much as it has samples; else all alike
  std::vector<std::string> of;  // each member's metric; "" of one that does not count
};

// The first is "average", which stands for the whole: where the definition names average_metrics the first of them, else the
// members' main metrics, all alike. The others are the average_metrics by their names, with each filter that a member has
// where none is named, as lm-evaluation-harness's groups have them; one that no member has is left out. Empty if that is all
// of them.
std::vector<AverageKey> AverageKeys(const BenchmarkDefinition& whole, absl::Span<const BenchmarkDefinition> members);

// What the average's results show of members: "MEMBER.METRIC" of each metric that counts in a key, in the members' order.
std::vector<std::vector<std::string>> ShownMetrics(absl::Span<const AverageKey> keys);

// The mean of `values` and its standard error, weighted by `sizes` where `by_size`: then the error is that of the pooled
// samples, else the root of the sum of the squared `errors`, over their number (lm-evaluation-harness 0.4.13). REQUIRES: not
// empty, as many of each.
struct AverageEstimate {
  double value = 0;
  double standard_error = 0;
};
AverageEstimate AverageOf(absl::Span<const double> values, absl::Span<const double> errors, absl::Span<const double> sizes,
                          bool by_size);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_AVERAGE_METRICS_H_

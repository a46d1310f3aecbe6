// From samples to metrics. Every metric is a function of the samples' own values, so that any subset of them has its metrics
// too.
#ifndef MERGANSER_WORKER_BENCHMARK_AGGREGATE_H_
#define MERGANSER_WORKER_BENCHMARK_AGGREGATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/metric_keys.h"

namespace merganser {

struct MetricEstimate {
  double value = 0;
  // Of a mean: the samples' standard deviation (n - 1) over the square root of n. Of the others: the standard deviation over
  // 200 resamplings, always the same ones. 0 for a single sample.
  double standard_error = 0;
  bool proportion = false;  // a mean of values that are all 0 or 1
};

// REQUIRES: `samples` is not empty; each has the values that the aggregation reads (a missing one counts as 0).
MetricEstimate Estimate(const MetricKey& key, absl::Span<const SampleOutcome> samples);

// {name: value}, and "NAME_stderr" for every metric that is no proportion: a proportion's follows from its value and n.
std::map<std::string, double> Metrics(absl::Span<const MetricKey> keys, absl::Span<const SampleOutcome> samples);

// What a metric of these samples is a mean over: samples, or the problems that have several completions.
int64_t ItemsOf(absl::Span<const SampleOutcome> samples);

// "_stderr".
extern const char kStandardErrorSuffix[];

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_AGGREGATE_H_

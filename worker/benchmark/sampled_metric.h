// One metric of any of a benchmark's samples, for resampling.
#ifndef MERGANSER_WORKER_BENCHMARK_SAMPLED_METRIC_H_
#define MERGANSER_WORKER_BENCHMARK_SAMPLED_METRIC_H_

#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/metric_keys.h"
#include "worker/benchmark/translation_metrics.h"

namespace merganser {

// Immutable, thread-safe; keeps nothing of `samples`.
class SampledMetric {
 public:
  // A value that a sample lacks counts as 0.
  SampledMetric(const MetricKey& key, absl::Span<const SampleOutcome> samples);

  // The metric of samples[indices[0]], samples[indices[1]] ...; 0 of none, and where it divides by 0. Of
  // pass@k and kAnswers whole problems are to be drawn, each with all its completions.
  double Of(absl::Span<const int> indices) const;

  // What the metric is the mean of: each sample's own value, or each problem's (pass@k, kAnswers) in the order of
  // values["problem"]; empty if it is no mean.
  const std::vector<double>& values() const { return values_; }

 private:
  void SetPassAtK(int k, absl::Span<const SampleOutcome> samples);
  void SetAnswers(const MetricKey& key, absl::Span<const SampleOutcome> samples);
  int Class(double label);

  const Aggregation aggregation_;
  std::vector<double> values_, per_sample_;
  std::vector<double> classes_;   // labels in order of appearance
  std::vector<int> gold_, pred_;  // of each sample, places in classes_
  std::vector<double> log_likelihood_, weight_;
  std::optional<TranslationMetric> translation_;
  std::vector<std::vector<double>> counts_;  // [count][sample]
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SAMPLED_METRIC_H_

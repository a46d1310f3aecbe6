#include "worker/benchmark/aggregate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "worker/benchmark/python_random.h"
#include "worker/benchmark/sampled_metric.h"

namespace merganser {
namespace {

constexpr int kResamplings = 200;
constexpr uint64_t kResamplingKey = 0x6d657267616e7365;  // any constant: the same data gives the same error

MetricEstimate Mean(const std::vector<double>& values) {
  MetricEstimate estimate;
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  estimate.proportion = true;
  for (const double v : values) {
    sum += v;
    estimate.proportion = estimate.proportion && (v == 0 || v == 1);
  }
  estimate.value = sum / n;
  if (values.size() < 2) return estimate;
  double squares = 0;
  for (const double v : values) squares += (v - estimate.value) * (v - estimate.value);
  estimate.standard_error = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

// rouge_score's BootstrapAggregator, numpy's generator seeded with lm-evaluation-harness's 1234: the median of 1000 means.
MetricEstimate BootstrapMedian(const std::vector<double>& values) {
  constexpr size_t kMeans = 1000;
  constexpr uint32_t kSeed = 1234;
  NumpyRandom random(kSeed);
  std::vector<double> means(kMeans);
  for (double& mean : means) {
    for (size_t i = 0; i < values.size(); ++i) {
      mean += values[random.Choice(static_cast<uint32_t>(values.size()))];
    }
    mean /= static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  MetricEstimate estimate = Mean(values);
  estimate.value = (means[kMeans / 2 - 1] + means[kMeans / 2]) / 2;
  estimate.proportion = false;
  return estimate;
}

}  // namespace

const char kStandardErrorSuffix[] = "_stderr";

MetricEstimate Estimate(const MetricKey& key, absl::Span<const SampleOutcome> samples) {
  const SampledMetric metric(key, samples);
  if (key.aggregation == Aggregation::kBootstrapMedian) return BootstrapMedian(metric.values());
  if (!metric.values().empty()) return Mean(metric.values());
  std::vector<int> indices(samples.size());
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int>(i);
  MetricEstimate estimate;
  estimate.value = metric.Of(indices);
  if (samples.size() < 2) return estimate;
  Rng rng(kResamplingKey, samples.size());
  std::vector<double> resampled;
  for (int r = 0; r < kResamplings; ++r) {
    for (int& i : indices) i = static_cast<int>(rng.Uniform() * static_cast<double>(samples.size()));
    resampled.push_back(metric.Of(indices));
  }
  const MetricEstimate spread = Mean(resampled);
  estimate.standard_error = spread.standard_error * std::sqrt(static_cast<double>(kResamplings));
  return estimate;
}

int64_t ItemsOf(absl::Span<const SampleOutcome> samples) {
  std::set<double> problems;
  for (const SampleOutcome& sample : samples) {
    const auto problem = sample.values.find("problem");
    if (problem == sample.values.end()) return static_cast<int64_t>(samples.size());
    problems.insert(problem->second);
  }
  return static_cast<int64_t>(problems.size());
}

std::map<std::string, double> Metrics(absl::Span<const MetricKey> keys, absl::Span<const SampleOutcome> samples) {
  std::map<std::string, double> metrics;
  for (const MetricKey& key : keys) {
    const MetricEstimate estimate = Estimate(key, samples);
    metrics[key.name] = estimate.value;
    if (!estimate.proportion) metrics[absl::StrCat(key.name, kStandardErrorSuffix)] = estimate.standard_error;
  }
  return metrics;
}

}  // namespace merganser

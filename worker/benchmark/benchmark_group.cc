#include "worker/benchmark/benchmark_group.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/wilson.h"

namespace merganser {

absl::StatusOr<std::unique_ptr<BenchmarkGroup>> BenchmarkGroup::Load(ResolvedBenchmark resolved,
                                                                     const ScorerOptions& options) {
  std::unique_ptr<BenchmarkGroup> group(new BenchmarkGroup);
  group->metric_names_ = MetricNames(resolved);
  group->definition_ = resolved.definition;
  if (!resolved.definition.average_of.empty()) group->keys_ = AverageKeys(resolved.definition, resolved.parts);
  for (BenchmarkDefinition& part : resolved.parts) {
    auto benchmark = Benchmark::Load(std::move(part), options);
    if (!benchmark.ok()) {
      return group->definition_.average_of.empty()
                 ? benchmark.status()
                 : Annotate(benchmark.status(), absl::StrCat("average '", group->definition_.name, "'"));
    }
    group->parts_.push_back(*std::move(benchmark));
  }
  return group;
}

bool BenchmarkGroup::SmallerIsBetter(const std::string& metric) const {
  const auto smaller = [](const std::string& name) { return merganser::SmallerIsBetter(name); };
  for (const AverageKey& key : keys_) {
    if (key.name == metric) return std::any_of(key.of.begin(), key.of.end(), smaller);
  }
  return smaller(metric);
}

BenchmarkResult BenchmarkGroup::Combine(std::vector<BenchmarkResult> results) const {
  if (definition_.average_of.empty()) return std::move(results.front());
  BenchmarkResult all;
  all.benchmark = definition_.name;
  const std::vector<std::vector<std::string>> shown = ShownMetrics(keys_);
  for (size_t i = 0; i < results.size(); ++i) {
    const BenchmarkResult& part = results[i];
    if (part.samples.empty()) continue;  // none of its samples was drawn
    for (const std::string& metric : shown[i]) {
      const std::string name = absl::StrCat(part.benchmark, ".", metric);
      all.metrics[name] = part.metrics.at(metric);
      // A member has fewer samples than the whole, so its error cannot be worked out from the value.
      const int64_t n = ItemsOf(part.samples);
      if (n > 1) all.metrics[absl::StrCat(name, kStandardErrorSuffix)] = IntervalOf(part.metrics, metric, n).standard_error;
    }
  }
  for (const AverageKey& key : keys_) {
    std::vector<double> values, errors, sizes;
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].samples.empty() || key.of[i].empty()) continue;
      const int64_t n = ItemsOf(results[i].samples);
      values.push_back(results[i].metrics.at(key.of[i]));
      errors.push_back(IntervalOf(results[i].metrics, key.of[i], n).standard_error);
      sizes.push_back(static_cast<double>(n));
    }
    if (values.empty()) continue;
    const AverageEstimate estimate = AverageOf(values, errors, sizes, key.by_size);
    all.metrics[key.name] = estimate.value;
    if (*std::min_element(sizes.begin(), sizes.end()) <= 1) continue;
    all.metrics[absl::StrCat(key.name, kStandardErrorSuffix)] = estimate.standard_error;
  }
  for (size_t i = 0; i < results.size(); ++i) {
    for (const std::string& metric : shown[i]) {
      if (results[i].samples.empty()) continue;
      std::map<std::string, double>& values = results[i].samples.front().values;
      const auto own = values.find(metric);
      values[absl::StrCat(results[i].benchmark, ".", metric)] = own == values.end() ? 0 : own->second;
    }
    for (SampleOutcome& sample : results[i].samples) {
      sample.values["member"] = static_cast<double>(i);
      all.samples.push_back(std::move(sample));
    }
  }
  return all;
}

}  // namespace merganser

#include "worker/benchmark/average_metrics.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "worker/benchmark/metric_keys.h"

namespace merganser {
namespace {

constexpr char kNoFilter[] = "none";  // the harness's name of it

// What `metric` is called in the member's results behind the filter; "" if it has none.
std::string MetricOf(const BenchmarkDefinition& member, const std::string& metric, const std::string& filter) {
  for (const MetricKey& key : MetricKeys(member)) {
    if (key.name == KeyName(metric, "", filter)) return key.name;
    if (filter == kNoFilter && key.name == metric) return key.name;
  }
  return "";
}

// In the order of their names.
std::set<std::string> FiltersWith(const std::string& metric, absl::Span<const BenchmarkDefinition> members) {
  std::set<std::string> filters;
  for (const BenchmarkDefinition& member : members) {
    std::vector<std::string> own = {kNoFilter};
    for (const FilterSpec& filter : member.filters) {
      if (!filter.name.empty()) own.push_back(filter.name);
    }
    for (const std::string& filter : own) {
      if (!MetricOf(member, metric, filter).empty()) filters.insert(filter);
    }
  }
  return filters;
}

}  // namespace

std::vector<AverageKey> AverageKeys(const BenchmarkDefinition& whole, absl::Span<const BenchmarkDefinition> members) {
  std::vector<AverageKey> keys;
  if (whole.average_metrics.empty()) {
    keys.push_back({"average"});
    for (const BenchmarkDefinition& member : members) keys.back().of.push_back(MainMetric(member));
    return keys;
  }
  for (const AverageMetric& metric : whole.average_metrics) {
    const std::set<std::string> found = FiltersWith(metric.metric, members);
    for (const std::string& filter : metric.filters.value_or(std::vector<std::string>(found.begin(), found.end()))) {
      AverageKey key{KeyName(metric.metric, "", filter == kNoFilter ? "" : filter), metric.by_size};
      for (const BenchmarkDefinition& member : members) key.of.push_back(MetricOf(member, metric.metric, filter));
      const bool any = std::any_of(key.of.begin(), key.of.end(), [](const std::string& name) { return !name.empty(); });
      const bool is_new = std::none_of(keys.begin(), keys.end(), [&](const AverageKey& k) { return k.name == key.name; });
      if (any && is_new) keys.push_back(std::move(key));
    }
  }
  if (keys.empty()) return keys;
  AverageKey average = keys.front();
  average.name = "average";
  keys.insert(keys.begin(), std::move(average));
  return keys;
}

std::vector<std::vector<std::string>> ShownMetrics(absl::Span<const AverageKey> keys) {
  std::vector<std::vector<std::string>> shown(keys.empty() ? 0 : keys.front().of.size());
  for (const AverageKey& key : keys) {
    for (size_t i = 0; i < key.of.size(); ++i) {
      if (key.of[i].empty() || std::find(shown[i].begin(), shown[i].end(), key.of[i]) != shown[i].end()) continue;
      shown[i].push_back(key.of[i]);
    }
  }
  return shown;
}

AverageEstimate AverageOf(absl::Span<const double> values, absl::Span<const double> errors, absl::Span<const double> sizes,
                          bool by_size) {
  const auto members = static_cast<double>(values.size());
  double weights = 0, sum = 0, squares = 0, pooled = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double weight = by_size ? sizes[i] : 1;
    weights += weight;
    sum += values[i] * weight;
    squares += errors[i] * errors[i];
    pooled += (sizes[i] - 1) * errors[i] * errors[i] * sizes[i];
  }
  AverageEstimate estimate;
  estimate.value = sum / weights;
  if (!by_size) {
    estimate.standard_error = std::sqrt(squares) / members;
  } else if (weights > members) {
    estimate.standard_error = std::sqrt(pooled / (weights - members) / weights);
  }
  return estimate;
}

}  // namespace merganser

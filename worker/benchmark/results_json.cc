#include "worker/benchmark/results_json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/wilson.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

// Predictions and answers are kept as the text of a number.
Json NumberOrText(const std::string& text) {
  if (text.empty()) return nullptr;
  Json number = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return number.is_number() ? number : Json(text);
}

Json SampleJson(const SampleOutcome& outcome, const std::string* extra) {
  Json sample = {{"question", outcome.question},           {"prediction", NumberOrText(outcome.prediction)},
                 {"answer", NumberOrText(outcome.answer)}, {"correct", outcome.correct},
                 {"completion", outcome.completion},       {"values", Json(outcome.values)}};
  if (extra == nullptr) return sample;
  const Json fields = Json::parse(*extra, nullptr, /*allow_exceptions=*/false);
  if (!fields.is_object()) return sample;
  for (const auto& [name, value] : fields.items()) {
    if (!sample.contains(name)) sample[name] = value;
  }
  return sample;
}

// What a metric is of: samples, or the problems of which pass@k has several completions.
int64_t Items(const BenchmarkResult& result) {
  std::set<double> problems;
  for (const SampleOutcome& sample : result.samples) {
    const auto problem = sample.values.find("problem");
    if (problem == sample.values.end()) return static_cast<int64_t>(result.samples.size());
    problems.insert(problem->second);
  }
  return static_cast<int64_t>(problems.size());
}

Json IntervalsJson(const BenchmarkResult& result) {
  Json intervals = Json::object();
  const int64_t n = Items(result);
  const bool average = !result.samples.empty() && result.samples[0].values.count("member") != 0;
  for (const auto& [name, value] : result.metrics) {
    if (absl::EndsWith(name, kStandardErrorSuffix)) continue;
    // A program's number without a standard error has no interval.
    if (result.samples.empty() && result.metrics.count(name + kStandardErrorSuffix) == 0) continue;
    const MetricInterval interval = IntervalOf(result.metrics, name, n);
    intervals[name] = {{"stderr", interval.standard_error}, {"low", interval.low}, {"high", interval.high}};
    // A member's value is of its own samples, not of all.
    if (!result.samples.empty() && (!average || name == "average")) intervals[name]["n"] = n;
  }
  return intervals;
}

void Add(const BenchmarkResult& result, absl::Span<const std::string> extra_fields, Json& report) {
  Json samples = Json::array();
  for (size_t i = 0; i < result.samples.size(); ++i) {
    samples.push_back(SampleJson(result.samples[i], i < extra_fields.size() ? &extra_fields[i] : nullptr));
  }
  report[result.benchmark] = {
      {"metrics", Json(result.metrics)}, {"intervals", IntervalsJson(result)}, {"results", std::move(samples)}};
}

// A completion may end inside a character; the file is valid UTF-8 all the same.
std::string Dump(const Json& report) {
  return report.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string ResultsJson(absl::Span<const ScoredCompletions> results) {
  Json report = Json::object();
  for (const ScoredCompletions& scored : results) Add(scored.result, scored.extra_fields, report);
  return Dump(report);
}

std::string ResultsJson(absl::Span<const BenchmarkResult> results) {
  Json report = Json::object();
  for (const BenchmarkResult& result : results) Add(result, {}, report);
  return Dump(report);
}

}  // namespace merganser

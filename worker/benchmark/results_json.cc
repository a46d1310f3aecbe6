#include "worker/benchmark/results_json.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
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

using Samples = absl::Span<const SampleOutcome>;

// The samples of the average's member that `metric`, "MEMBER.METRIC", is of; empty if it is none of a member.
Samples MemberOf(const BenchmarkResult& average, const std::string& metric) {
  const Samples all(average.samples);
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    const double member = all[begin].values.at("member");
    while (end < all.size() && all[end].values.at("member") == member) ++end;
    if (all[begin].values.count(metric) != 0) return all.subspan(begin, end - begin);
  }
  return {};
}

// True if `metric`, "MEMBER.METRIC" with the value `mean`, is a share of the member's `samples`.
bool IsShare(Samples samples, const std::string& metric, double mean) {
  for (size_t dot = metric.find('.'); dot != std::string::npos; dot = metric.find('.', dot + 1)) {
    const std::string own = metric.substr(dot + 1);
    double sum = 0;
    const bool bits = std::all_of(samples.begin(), samples.end(), [&](const SampleOutcome& sample) {
      const auto value = sample.values.find(own);
      if (value == sample.values.end() || (value->second != 0 && value->second != 1)) return false;
      sum += value->second;
      return true;
    });
    const auto n = static_cast<double>(samples.size());
    if (bits && ItemsOf(samples) == static_cast<int64_t>(samples.size()) && std::abs(sum / n - mean) < 1e-9) return true;
  }
  return false;
}

Json IntervalsJson(const BenchmarkResult& result) {
  Json intervals = Json::object();
  const bool average = !result.samples.empty() && result.samples[0].values.count("member") != 0;
  for (const auto& [name, value] : result.metrics) {
    if (absl::EndsWith(name, kStandardErrorSuffix)) continue;
    const bool has_error = result.metrics.count(name + kStandardErrorSuffix) != 0;
    const Samples member = average ? MemberOf(result, name) : Samples();
    const int64_t n = ItemsOf(member.empty() ? Samples(result.samples) : member);
    const bool share = !member.empty() && IsShare(member, name, value);
    // A program's number without a standard error has no interval, nor an average of a member with one sample; and what is
    // no share is not known from a single sample.
    if (!share && (has_error ? n == 1 : average || n == 0)) continue;
    const MetricInterval interval =
        IntervalOf(share ? std::map<std::string, double>{{name, value}} : result.metrics, name, n);
    intervals[name] = {{"stderr", interval.standard_error}, {"low", interval.low}, {"high", interval.high}};
    if (!result.samples.empty() && (!average || !member.empty() || name == "average")) intervals[name]["n"] = n;
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

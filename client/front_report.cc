#include "client/front_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/run_files.h"
#include "common/base/sample_draw.h"
#include "common/base/status_macros.h"
#include "coordinator/job/ranking.h"
#include "merganser/v1/record.pb.h"

namespace merganser {
namespace {

// Metrics are sums in other orders than ours.
constexpr double kSameMean = 1e-9;

// The samples of `benchmark` that the candidate ran: "task@7" for a draw.
std::string SamplesOf(const Candidate& candidate, const std::string& benchmark) {
  for (const std::string& name : candidate.benchmarks) {
    if (ParseBenchmarkRequest(name).benchmark == benchmark) return name;
  }
  return benchmark;
}

absl::StatusOr<FrontValue> ValueOf(const Candidate& candidate, const v1::Evaluation& evaluation, const Objective& objective,
                                   double value) {
  FrontValue result{value, "", {}};
  const std::string name = ObjectiveName(objective);
  if (objective.benchmark == kCostBenchmark) {
    if (objective.metric == kHopsMetric) return result;
    return absl::FailedPreconditionError(absl::StrCat(name, " is not recorded sample by sample"));
  }
  result.samples_of = SamplesOf(candidate, objective.benchmark);
  double sum = 0;
  int numbers = 0;
  for (const v1::BenchmarkResult& benchmark : evaluation.results()) {
    if (ParseBenchmarkRequest(benchmark.benchmark()).benchmark != objective.benchmark) continue;
    for (const v1::SampleOutcome& sample : benchmark.samples()) {
      const auto share = sample.values().find(objective.metric);
      if (share == sample.values().end()) continue;
      result.samples.push_back(share->second);
      sum += share->second;
    }
    if (static_cast<int>(result.samples.size()) != benchmark.samples_size()) result.samples.clear();
    numbers = benchmark.numbers_size();
  }
  const double mean = sum / static_cast<double>(result.samples.size());
  if (result.samples.empty() || !(std::abs(mean - value) <= kSameMean * std::max(1.0, std::abs(value)))) {
    return absl::FailedPreconditionError(numbers > 0
                                             ? absl::StrCat("samples of ", name, " are in the records of other candidates")
                                             : absl::StrCat(name, " is no mean over samples"));
  }
  return result;
}

// A candidate that ended with its twin's result has no record of its own.
const std::string& RecordKeyOf(const Candidate& candidate, const std::vector<Candidate>& candidates) {
  if (!candidate.record_key.empty()) return candidate.record_key;
  for (const Candidate& other : candidates) {
    if (!other.record_key.empty() && other.recipe == candidate.recipe && other.benchmarks == candidate.benchmarks) {
      return other.record_key;
    }
  }
  return candidate.record_key;
}

absl::StatusOr<std::vector<FrontValue>> ValuesOf(const JobSpec& spec, const std::vector<Candidate>& candidates,
                                                 const Candidate& candidate, const RecordFunction& record) {
  const std::string where = absl::StrCat("record of candidate ", candidate.number);
  const std::string& key = RecordKeyOf(candidate, candidates);
  if (key.empty()) return absl::NotFoundError(absl::StrCat("candidate ", candidate.number, " has no record"));
  MG_ASSIGN_OR_RETURN(const std::string bytes, record(key));
  v1::ResultRecord result;
  if (!result.ParseFromString(bytes)) return absl::DataLossError(absl::StrCat(where, " is damaged"));
  std::vector<FrontValue> values;
  for (size_t i = 0; i < spec.objectives.size(); ++i) {
    MG_ASSIGN_OR_RETURN(FrontValue value, ValueOf(candidate, result.evaluation(), spec.objectives[i], candidate.fitness[i]));
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace

std::vector<double> ReferencePoint(const JobSpec& spec, const std::vector<Candidate>& candidates) {
  std::vector<FitnessVector> points;
  for (const Candidate& c : candidates) {
    const bool counts =
        c.kind == CandidateKind::kSource || c.kind == CandidateKind::kAverage || c.kind == CandidateKind::kSearch;
    if (counts && c.state == CandidateState::kSucceeded) points.push_back(c.fitness);
  }
  return VolumeReference(spec.objectives.size(), points);
}

std::optional<FrontReport> DescribeFront(const JobSpec& spec, const std::vector<Candidate>& candidates,
                                         const RecordFunction& record) {
  if (spec.objectives.size() < 2) return std::nullopt;
  FrontReport report;
  report.candidates = ParetoFront(spec, candidates);
  if (report.candidates.empty()) return std::nullopt;
  report.reference = ReferencePoint(spec, candidates);
  std::map<int64_t, const Candidate*> by_number;
  for (const Candidate& c : candidates) by_number[c.number] = &c;
  std::vector<std::vector<FrontValue>> front;
  bool sampled = false;
  for (const int64_t number : report.candidates) {
    const Candidate& candidate = *by_number.at(number);
    absl::StatusOr<std::vector<FrontValue>> values = absl::CancelledError("");
    if (report.no_interval.empty()) {
      values = ValuesOf(spec, candidates, candidate, record);
      if (!values.ok()) report.no_interval = std::string(values.status().message());
    }
    if (!values.ok()) {
      values.emplace();
      for (const double x : candidate.fitness) values->push_back({x, "", {}});
    }
    for (const FrontValue& v : *values) sampled |= !v.samples.empty();
    front.push_back(*std::move(values));
  }
  report.volume = FrontVolume(front, report.reference);
  if (!report.volume || !report.no_interval.empty()) return report;
  if (!sampled) {
    report.no_interval = "no objective is measured on samples";
    return report;
  }
  report.interval = FrontVolumeInterval(front, report.reference);
  if (!report.interval) report.no_interval = "the front is too large to resample";
  return report;
}

std::string FrontText(const JobSpec& spec, const FrontReport& front) {
  std::string text = absl::StrCat(front.candidates.size(), front.candidates.size() == 1 ? " candidate" : " candidates");
  if (!front.volume) return absl::StrCat(text, ", too many for an exact hypervolume");
  absl::StrAppendFormat(&text, ", hypervolume %.4g", *front.volume);
  if (front.interval) {
    absl::StrAppendFormat(&text, " (95 %%: %.4g to %.4g)", front.interval->low, front.interval->high);
  } else {
    absl::StrAppend(&text, " (no interval: ", front.no_interval, ")");
  }
  std::vector<std::string> reference;
  for (size_t i = 0; i < front.reference.size(); ++i) {
    reference.push_back(absl::StrFormat("%s %.4g", ObjectiveName(spec.objectives[i]), front.reference[i]));
  }
  return absl::StrCat(text, " above ", absl::StrJoin(reference, ", "));
}

Json FrontJson(const JobSpec& spec, const FrontReport& front) {
  Json json = {{"value", front.volume ? Json(*front.volume) : Json(nullptr)}};
  if (front.interval) {
    json["low"] = front.interval->low;
    json["high"] = front.interval->high;
    json["resamplings"] = kFrontResamplings;
  } else {
    json["no_interval"] = front.volume ? front.no_interval : "the front is too large";
  }
  json["reference"] = Json::object();
  for (size_t i = 0; i < front.reference.size(); ++i)
    json["reference"][ObjectiveName(spec.objectives[i])] = front.reference[i];
  return json;
}

}  // namespace merganser

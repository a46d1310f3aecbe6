#include "coordinator/job/attempt_outcome.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace merganser {

absl::StatusOr<std::vector<double>> ComputeFitness(const std::vector<Objective>& objectives,
                                                   const MetricTable& metrics) {
  std::vector<double> fitness;
  for (size_t i = 0; i < objectives.size(); ++i) {
    const auto& [benchmark, metric] = objectives[i];
    const auto table = metrics.find(benchmark);
    const bool known = table != metrics.end() && table->second.count(metric) != 0;
    if (!known) {
      std::vector<std::string> names;
      for (const auto& [b, values] : metrics) {
        for (const auto& [m, value] : values) names.push_back(absl::StrCat(b, ".", m));
      }
      return absl::InvalidArgumentError(absl::StrCat(
          "objectives[", i, "]: the evaluation has no metric ", benchmark, ".", metric, "; ",
          names.empty() ? "it has none" : absl::StrCat("known: ", absl::StrJoin(names, ", "))));
    }
    const double value = table->second.at(metric);
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("objectives[", i, "]: ", benchmark, ".", metric, " is ", value));
    }
    fitness.push_back(value);
  }
  return fitness;
}

CandidateFinished FinishFromRecord(const JobSpec& spec, const Candidate& candidate, int attempt,
                                   const RecordSummary& record, const std::string& record_key,
                                   const std::string& record_sha256) {
  CandidateFinished finished;
  finished.candidate = candidate.number;
  finished.attempt = attempt;
  finished.record_key = record_key;
  finished.record_sha256 = record_sha256;
  finished.timings = record.timings;
  const auto fail = [&](absl::string_view why) {
    finished.state = CandidateState::kFailed;
    finished.message = std::string(why);
    return finished;
  };
  switch (candidate.kind) {
    case CandidateKind::kPrepare:
      if (!record.facts.has_value()) return fail("the worker's record says nothing about the models");
      finished.facts = record.facts;
      return finished;
    case CandidateKind::kHeldOut:
      if (record.metrics.empty()) return fail("the evaluation has no metrics");
      finished.metrics = record.metrics;
      return finished;
    case CandidateKind::kSource:
    case CandidateKind::kAverage:
    case CandidateKind::kSearch:
      break;
  }
  absl::StatusOr<std::vector<double>> fitness = ComputeFitness(spec.objectives, record.metrics);
  if (!fitness.ok()) return fail(fitness.status().message());
  finished.fitness = *std::move(fitness);
  finished.metrics = record.metrics;
  return finished;
}

std::vector<EventBody> EndAttempt(const JobState& state, int64_t number, int attempt,
                                  FailureClass failure, const std::string& message) {
  std::vector<EventBody> events;
  events.emplace_back(AttemptEnded{number, attempt, failure, message});
  const Candidate& candidate = *state.Find(number);
  CandidateFinished finished{.candidate = number, .state = CandidateState::kFailed};
  if (failure == FailureClass::kInfeasible) {
    finished.message = message;
    events.emplace_back(finished);
  } else if (failure != FailureClass::kReleased) {
    const int counted = CountedAttempts(candidate) + 1;
    if (counted < state.spec().max_attempts) return events;
    finished.message = absl::StrCat(counted, " of ", state.spec().max_attempts,
                                    " attempts failed; the last: ", ToString(failure),
                                    message.empty() ? "" : ": ", message);
    events.emplace_back(finished);
  }
  return events;
}

std::vector<EventBody> EndJob(const JobState& state, JobPhase phase, const std::string& message) {
  std::vector<EventBody> events;
  std::set<int64_t> unfinished = state.queued();
  unfinished.insert(state.running().begin(), state.running().end());
  for (int64_t number : unfinished) {
    events.emplace_back(CandidateFinished{.candidate = number,
                                       .state = CandidateState::kCancelled,
                                       .message = "the job ended before it"});
  }
  events.emplace_back(PhaseStarted{phase, message});
  return events;
}

}  // namespace merganser

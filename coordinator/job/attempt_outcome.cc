#include "coordinator/job/attempt_outcome.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/search_space/search_space.h"

namespace merganser {
namespace {

// Different workers whose attempts ended as `failure`, with `message` unless it is null.
size_t WorkersWith(const Candidate& candidate, FailureClass failure, const std::string* message) {
  std::set<std::string> workers;
  for (const Attempt& attempt : candidate.attempts) {
    if (attempt.failure == failure && (message == nullptr || attempt.message == *message)) workers.insert(attempt.worker);
  }
  return workers.size();
}

}  // namespace

absl::StatusOr<std::vector<double>> ComputeFitness(const std::vector<Objective>& objectives,
                                                   const MetricTable& metrics) {
  std::vector<double> fitness;
  for (size_t i = 0; i < objectives.size(); ++i) {
    const std::string& benchmark = objectives[i].benchmark;
    const std::string& metric = objectives[i].metric;
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
    fitness.push_back(benchmark == kCostBenchmark ? -value : value);
  }
  return fitness;
}

void AddCosts(const JobSpec& spec, const Recipe& recipe, int num_layers, int64_t tokens, MetricTable* metrics) {
  const auto add = [&](const std::string& benchmark, const std::string& metric) {
    if (benchmark != kCostBenchmark) return;
    (*metrics)[benchmark][metric] = metric == kHopsMetric ? static_cast<double>(HopCount(recipe, num_layers)) : static_cast<double>(tokens);
  };
  for (const Objective& objective : spec.objectives) add(objective.benchmark, objective.metric);
  for (const Constraint& constraint : spec.constraints) add(constraint.benchmark, constraint.metric);
}

CandidateFinished FinishFromRecord(const JobState& state, const Candidate& candidate, int attempt,
                                   const RecordSummary& record, const std::string& record_key,
                                   const std::string& record_sha256) {
  const JobSpec& spec = state.spec();
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
    case CandidateKind::kFinalist:
      break;
  }
  MetricTable metrics = record.metrics;
  std::vector<Objective> objectives = spec.objectives;
  if (candidate.kind == CandidateKind::kFinalist) {
    const Finalists& finalists = spec.finalists;
    objectives = {{finalists.benchmark, finalists.metric.empty() ? spec.objectives[0].metric : finalists.metric}};
  } else {
    const int num_layers = state.facts().has_value() ? state.facts()->num_layers : 0;
    AddCosts(spec, candidate.recipe, num_layers, record.generated_tokens, &metrics);
  }
  absl::StatusOr<std::vector<double>> fitness = ComputeFitness(objectives, metrics);
  if (!fitness.ok()) return fail(fitness.status().message());
  finished.fitness = *std::move(fitness);
  finished.metrics = std::move(metrics);
  return finished;
}

std::vector<EventBody> EndAttempt(const JobState& state, int64_t number, int attempt,
                                  FailureClass failure, const std::string& message) {
  std::vector<EventBody> events;
  events.emplace_back(AttemptEnded{number, attempt, failure, message});
  CandidateFinished finished{.candidate = number, .state = CandidateState::kFailed};
  if (failure == FailureClass::kInfeasible) {
    finished.message = message;
    events.emplace_back(finished);
    return events;
  }
  Candidate after;  // its attempts, as they will be
  after.attempts = state.Find(number)->attempts;
  Attempt& ended = after.attempts[attempt - 1];
  ended.ended = true;
  ended.failure = failure;
  ended.message = message;
  if (LiveAttempts(after) > 0) return events;
  const int counted = CountedAttempts(after);
  const absl::string_view colon = message.empty() ? "" : ": ";
  if (WorkersWith(after, FailureClass::kCrashed, nullptr) > 1) {
    finished.message = absl::StrCat("poison: it took down the evaluators of two workers; the last", colon, message);
  } else if (failure == FailureClass::kTransient && !message.empty() &&
             WorkersWith(after, FailureClass::kTransient, &message) > 1) {
    finished.message = absl::StrCat("the same error on two workers: ", message);
  } else if (counted >= state.spec().max_attempts) {
    finished.message = absl::StrCat(counted, " of ", state.spec().max_attempts,
                                    " attempts failed; the last: ", ToString(failure), colon, message);
  } else {
    return events;
  }
  events.emplace_back(finished);
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

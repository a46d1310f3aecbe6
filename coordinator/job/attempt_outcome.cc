#include "coordinator/job/attempt_outcome.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/sample_draw.h"
#include "common/base/status_macros.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/search_space/search_space.h"

namespace merganser {
namespace {

Objective FinalistObjective(const JobSpec& spec) {
  const Finalists& finalists = spec.finalists;
  return {finalists.benchmark, finalists.metric.empty() ? spec.objectives[0].metric : finalists.metric};
}

// Of attempts that are not forgiven: different workers whose attempts ended as `failure`, with `message` unless it is null.
size_t WorkersWith(const Candidate& candidate, FailureClass failure, const std::string* message) {
  std::set<std::string> workers;
  for (const Attempt& attempt : candidate.attempts) {
    if (attempt.failure == failure && !attempt.forgiven && (message == nullptr || attempt.message == *message))
      workers.insert(attempt.worker);
  }
  return workers.size();
}

int64_t FailuresOf(const Candidate& candidate, FailureClass failure) {
  return std::count_if(candidate.attempts.begin(), candidate.attempts.end(),
                       [failure](const Attempt& attempt) { return attempt.failure == failure && !attempt.forgiven; });
}

// Of the benchmarks of which every metric that the job looks at is there sample by sample: a part of the others is worth
// nothing.
ScoresByBenchmark Shared(const JobSpec& spec, const ScoresByBenchmark& scores) {
  ScoresByBenchmark shared;
  for (const auto& [benchmark, of] : scores) {
    const auto lacks = [&, &name = benchmark, &known = of](const auto& wanted) {
      return wanted.benchmark == name && !known.Has(wanted.metric);
    };
    if (std::any_of(spec.objectives.begin(), spec.objectives.end(), lacks) ||
        std::any_of(spec.constraints.begin(), spec.constraints.end(), lacks)) {
      continue;
    }
    if (benchmark == spec.finalists.benchmark && !of.Has(FinalistObjective(spec).metric)) continue;
    shared[benchmark] = of;
  }
  return shared;
}

// The candidate's metrics over the samples that it is due. A benchmark that this record alone covers keeps the record's own.
absl::StatusOr<MetricTable> MetricsDue(const JobState& state, const Candidate& candidate, const ScoresByBenchmark& fresh,
                                       const MetricTable& of_record) {
  const JobSpec& spec = state.spec();
  MetricTable metrics;
  for (const std::string& requested : candidate.benchmarks) {
    const std::string benchmark = ParseBenchmarkRequest(requested).benchmark;
    const std::vector<int64_t> due = SamplesDue(spec, *state.facts(), candidate, requested);
    const SampleScores* known = KnownScores(state, candidate, benchmark);
    const auto here = fresh.find(benchmark);
    const auto recorded = of_record.find(benchmark);
    SampleScores all = known == nullptr ? SampleScores{} : *known;
    if (here != fresh.end()) all.Merge(here->second);
    const bool by_record = recorded != of_record.end();
    const bool unshared = known == nullptr && here == fresh.end();  // no metric of it is a mean
    if (unshared && candidate.blocks > 0 && !due.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("samples.racing: what the job looks at of ", benchmark,
                       " is no mean over samples, so its samples cannot be scored block by block"));
    }
    if (by_record && (due.empty() || unshared || (here != fresh.end() && here->second.scored.Numbers() == due))) {
      metrics[benchmark] = recorded->second;
      continue;
    }
    if (due.empty() || all.metrics.empty() || !all.Covers(due)) {
      return absl::DataLossError(absl::StrCat("it has ", all.scored.Count(), " samples of ", benchmark, ", and candidate ",
                                              candidate.number, " is due other ones"));
    }
    for (const auto& [name, metric] : all.metrics) metrics[benchmark][name] = all.Mean(name, due);
  }
  return metrics;
}

absl::Status SetFitness(const JobState& state, const Candidate& candidate, int64_t tokens, MetricTable metrics,
                        CandidateFinished* finished) {
  const JobSpec& spec = state.spec();
  std::vector<Objective> objectives = spec.objectives;
  if (candidate.kind == CandidateKind::kFinalist) {
    objectives = {FinalistObjective(spec)};
  } else {
    const int num_layers = state.facts().has_value() ? state.facts()->num_layers : 0;
    AddCosts(spec, candidate.recipe, num_layers, tokens, &metrics);
  }
  MG_ASSIGN_OR_RETURN(finished->fitness, ComputeFitness(objectives, metrics));
  finished->metrics = std::move(metrics);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<double>> ComputeFitness(const std::vector<Objective>& objectives, const MetricTable& metrics) {
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
      return absl::InvalidArgumentError(
          absl::StrCat("objectives[", i, "]: the evaluation has no metric ", benchmark, ".", metric, "; ",
                       names.empty() ? "it has none" : absl::StrCat("known: ", absl::StrJoin(names, ", "))));
    }
    const double value = table->second.at(metric);
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat("objectives[", i, "]: ", benchmark, ".", metric, " is ", value));
    }
    fitness.push_back(benchmark == kCostBenchmark ? -value : value);
  }
  return fitness;
}

void AddCosts(const JobSpec& spec, const Recipe& recipe, int num_layers, int64_t tokens, MetricTable* metrics) {
  const auto add = [&](const std::string& benchmark, const std::string& metric) {
    if (benchmark != kCostBenchmark) return;
    (*metrics)[benchmark][metric] =
        metric == kHopsMetric ? static_cast<double>(HopCount(recipe, num_layers)) : static_cast<double>(tokens);
  };
  for (const Objective& objective : spec.objectives) add(objective.benchmark, objective.metric);
  for (const Constraint& constraint : spec.constraints) add(constraint.benchmark, constraint.metric);
}

absl::StatusOr<EventBody> FinishFromRecord(const JobState& state, const Candidate& candidate, int attempt,
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
    return EventBody(finished);
  };
  switch (candidate.kind) {
    case CandidateKind::kPrepare:
      if (!record.facts.has_value()) return fail("the worker's record says nothing about the models");
      finished.facts = record.facts;
      return EventBody(finished);
    case CandidateKind::kHeldOut:
      if (record.metrics.empty()) return fail("the evaluation has no metrics");
      finished.metrics = record.metrics;
      return EventBody(finished);
    case CandidateKind::kSource:
    case CandidateKind::kAverage:
    case CandidateKind::kSearch:
    case CandidateKind::kFinalist:
      break;
  }
  MetricTable metrics = record.metrics;
  if (KeepsScores(state.spec()) && state.facts().has_value()) {
    finished.scores = Shared(state.spec(), record.scores);
    absl::StatusOr<MetricTable> due = MetricsDue(state, candidate, finished.scores, record.metrics);
    if (absl::IsInvalidArgument(due.status())) return fail(due.status().message());
    MG_RETURN_IF_ERROR(due.status());
    metrics = *std::move(due);
  }
  if (absl::Status told = SetFitness(state, candidate, record.generated_tokens, std::move(metrics), &finished); !told.ok()) {
    return fail(told.message());
  }
  if (candidate.blocks == 0 || candidate.blocks >= BlocksOf(state.spec(), *state.facts(), candidate))
    return EventBody(finished);
  return EventBody(BlockScored{.candidate = candidate.number,
                               .attempt = attempt,
                               .scores = std::move(finished.scores),
                               .record_key = record_key,
                               .record_sha256 = record_sha256,
                               .timings = record.timings});
}

bool IsKnown(const JobState& state, const Candidate& candidate) {
  if (!SharesScores(candidate.kind) || candidate.recipe.stacks.empty()) return false;
  return KeepsScores(state.spec()) && state.facts().has_value() && BenchmarksToRun(state, candidate).empty();
}

CandidateFinished FinishFromKnown(const JobState& state, const Candidate& candidate) {
  CandidateFinished finished{.candidate = candidate.number, .message = "its samples were scored before, of an equal recipe"};
  absl::StatusOr<MetricTable> metrics = MetricsDue(state, candidate, {}, {});
  absl::Status status = metrics.status();
  if (status.ok()) status = SetFitness(state, candidate, 0, *std::move(metrics), &finished);
  if (!status.ok()) {
    finished.state = CandidateState::kFailed;
    finished.message = std::string(status.message());
  }
  return finished;
}

std::vector<EventBody> EndAttempt(const JobState& state, int64_t number, int attempt, FailureClass failure,
                                  const std::string& message) {
  std::vector<EventBody> events;
  events.emplace_back(AttemptEnded{number, attempt, failure, message});
  CandidateFinished finished{.candidate = number, .state = CandidateState::kFailed};
  if (failure == FailureClass::kInfeasible) {
    finished.message = message;
    events.emplace_back(finished);
    return events;
  }
  Candidate after;  // its attempts, as they will be
  after.kind = state.Find(number)->kind;
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
  } else if (after.kind == CandidateKind::kPrepare && FailuresOf(after, FailureClass::kUnavailable) >= kPrepareFetches) {
    finished.message = absl::StrCat("what the job needs could not be fetched in ", kPrepareFetches,
                                    " attempts; the last: ", ToString(failure), colon, message);
  } else if (counted >= state.spec().max_attempts) {
    const int64_t free = FailuresOf(after, FailureClass::kReleased) +
                         std::min<int64_t>(FailuresOf(after, FailureClass::kUnavailable), kFreeUnavailable);
    finished.message = absl::StrCat(counted, " of ", state.spec().max_attempts, " attempts failed",
                                    free > 0 ? absl::StrCat(", besides ", free, " that did not count") : "",
                                    "; the last: ", ToString(failure), colon, message);
  } else {
    return events;
  }
  events.emplace_back(finished);
  return events;
}

std::vector<EventBody> EndJob(const JobState& state, JobPhase phase, const std::string& message) {
  std::vector<EventBody> events;
  for (const int64_t number : state.unfinished()) {
    events.emplace_back(
        CandidateFinished{.candidate = number, .state = CandidateState::kCancelled, .message = "the job ended before it"});
  }
  events.emplace_back(PhaseStarted{phase, message});
  return events;
}

}  // namespace merganser

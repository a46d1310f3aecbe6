#include "coordinator/job/stage_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/domain/limits.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/job_update.h"

namespace merganser {
namespace {

// Sample evaluations of the stage, with what its candidates in flight will take at most.
int64_t SamplesSpent(const JobState& state, const StageState& stage) {
  return stage.samples + (stage.proposed - stage.finished) * SamplesPerCandidate(state.spec(), *state.facts());
}

// What a worker's device was held for.
absl::Duration EvaluationTime(const PhaseTimings& t) {
  return absl::Seconds(t.materialize + t.tokenize + t.prefill + t.decode + t.score);
}

absl::Duration WallTime(const JobState& state, int number, absl::Time now) {
  const StageState* stage = FindStage(state, number);
  const absl::Time begun = number == 0 ? state.create_time() : stage == nullptr ? now : stage->start_time;
  absl::Duration paused = state.paused_time(now);
  if (number > 0) paused = stage == nullptr ? absl::ZeroDuration() : paused - stage->paused_before;
  return now - begun - paused;
}

bool TargetReached(const JobState& state, const Budget& budget) {
  return budget.target.has_value() && state.best().has_value() && state.Find(*state.best())->fitness[0] >= *budget.target;
}

struct Bound {
  std::string field, value;
  double candidates;  // after which it ends the stage, about
  bool reached;
};

}  // namespace

const StageState* FindStage(const JobState& state, int stage) {
  return stage >= 0 && stage < static_cast<int>(state.stages().size()) ? &state.stages()[stage] : nullptr;
}

int64_t CandidatesLeft(const JobState& state, int number, const Budget& budget, int64_t population) {
  const StageState* stage = FindStage(state, number);
  const int64_t proposed = stage == nullptr ? 0 : stage->proposed;
  int64_t left = limits::kCandidatesMax;
  if (budget.candidates > 0) left = std::min(left, budget.candidates - proposed);
  // A generation of a rolling search is as many candidates as one of a synchronous search.
  if (budget.generations > 0 && state.spec().mode == SearchMode::kRolling) {
    left = std::min(left, budget.generations * population - proposed);
  }
  return left;
}

bool BudgetReached(const JobState& state, int number, const Budget& budget, int64_t population, absl::Time now) {
  const StageState* stage = FindStage(state, number);
  const int64_t proposed = stage == nullptr ? 0 : stage->proposed;
  if (CandidatesLeft(state, number, budget, population) <= 0) return true;
  if (budget.generations > 0 && stage != nullptr && stage->generations >= budget.generations &&
      state.spec().mode == SearchMode::kSynchronous) {
    return true;
  }
  if (budget.samples > 0 && proposed > 0 && SamplesSpent(state, *stage) >= budget.samples) return true;
  if (stage != nullptr && EvaluationTime(stage->timings) >= budget.gpu_time) return true;
  if (WallTime(state, number, now) >= budget.wall_time) return true;
  return TargetReached(state, budget);
}

std::string BindingBudget(const JobState& state, int number, const Budget& budget, const std::vector<std::string>& changed,
                          absl::Time now) {
  const auto is_changed = [&](absl::string_view field) {
    return std::find(changed.begin(), changed.end(), "budget") != changed.end() ||
           std::find(changed.begin(), changed.end(), field) != changed.end();
  };
  if (std::none_of(changed.begin(), changed.end(), [](const auto& f) { return absl::StartsWith(f, "budget"); })) return "";
  const StageState* stage = FindStage(state, number);
  const int64_t population =
      stage == nullptr ? 0 : static_cast<int64_t>(state.generations()[stage->first_generation].size());
  std::vector<Bound> bounds;
  // `taken` of `bound`, by so many candidates.
  const auto add = [&](absl::string_view field, std::string value, double bound, double taken, double by) {
    const bool reached = taken >= bound;
    if (!reached && (taken <= 0 || by <= 0)) return;
    bounds.push_back({absl::StrCat("budget.", field), std::move(value), reached ? by : bound * by / taken, reached});
  };
  const double proposed = stage == nullptr ? 0 : static_cast<double>(stage->proposed);
  const double finished = stage == nullptr ? 0 : static_cast<double>(stage->finished);
  if (budget.candidates > 0) {
    const auto bound = static_cast<double>(budget.candidates);
    bounds.push_back({"budget.candidates", absl::StrCat(budget.candidates), bound, proposed >= bound});
  }
  if (budget.generations > 0 && population > 0) {
    const auto bound = static_cast<double>(budget.generations * population);
    const bool reached = state.spec().mode == SearchMode::kRolling
                             ? proposed >= bound
                             : stage != nullptr && stage->generations >= budget.generations;
    bounds.push_back({"budget.generations", absl::StrCat(budget.generations), reached ? proposed : bound, reached});
  }
  if (budget.samples > 0 && state.facts().has_value()) {
    const auto bound = static_cast<double>(budget.samples);
    const auto each = static_cast<double>(SamplesPerCandidate(state.spec(), *state.facts()));
    if (proposed > 0) {
      add("samples", absl::StrCat(budget.samples), bound, static_cast<double>(SamplesSpent(state, *stage)), proposed);
    } else {
      add("samples", absl::StrCat(budget.samples), bound, std::min(each, bound / 2), 1);
    }
  }
  if (stage != nullptr && budget.gpu_time < absl::InfiniteDuration()) {
    add("gpu_time", absl::FormatDuration(budget.gpu_time), absl::ToDoubleSeconds(budget.gpu_time),
        absl::ToDoubleSeconds(EvaluationTime(stage->timings)), finished);
  }
  if (budget.wall_time < absl::InfiniteDuration()) {
    add("wall_time", absl::FormatDuration(budget.wall_time), absl::ToDoubleSeconds(budget.wall_time),
        absl::ToDoubleSeconds(WallTime(state, number, now)), finished);
  }
  if (TargetReached(state, budget)) bounds.push_back({"budget.target", absl::StrCat(*budget.target), finished, true});
  const auto first = std::min_element(bounds.begin(), bounds.end(), [](const Bound& a, const Bound& b) {
    return a.reached != b.reached ? a.reached : a.candidates < b.candidates;
  });
  if (first == bounds.end() || is_changed(first->field)) return "";
  // One that was changed and ends it as early is as good an answer.
  for (const Bound& bound : bounds) {
    if (is_changed(bound.field) && bound.reached == first->reached && bound.candidates <= first->candidates) return "";
  }
  const std::string name = absl::StrCat(StageField(number), first->field, " of ", first->value);
  if (first->reached) return absl::StrCat(name, " is reached: the search proposes nothing more");
  const auto after = static_cast<int64_t>(std::ceil(first->candidates));
  return absl::StrCat(name, " ends the search after about ", after, after == 1 ? " candidate" : " candidates");
}

}  // namespace merganser

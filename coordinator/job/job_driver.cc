#include "coordinator/job/job_driver.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

std::vector<std::string> Names(const std::vector<BenchmarkSpec>& benchmarks) {
  std::vector<std::string> names;
  for (const BenchmarkSpec& benchmark : benchmarks) names.push_back(benchmark.name);
  return names;
}

void Append(std::vector<EventBody> more, std::vector<EventBody>& events) {
  for (EventBody& body : more) events.emplace_back(std::move(body));
}

// Every model as it is and the plain average; kinds by `held_out`.
CandidatesProposed SourcesAndAverage(const JobState& state, bool held_out) {
  const JobSpec& spec = state.spec();
  CandidatesProposed proposed;
  const auto add = [&](CandidateKind kind, const std::string& label, Recipe recipe) {
    Candidate candidate;
    candidate.number = static_cast<int64_t>(state.candidates().size() + proposed.candidates.size());
    candidate.kind = held_out ? CandidateKind::kHeldOut : kind;
    candidate.label = label;
    candidate.recipe = std::move(recipe);
    candidate.benchmarks = Names(held_out ? spec.held_out : spec.benchmarks);
    proposed.candidates.push_back(std::move(candidate));
  };
  for (const ModelRef& model : spec.models) {
    add(CandidateKind::kSource, model.name, SourceRecipe(spec, model.name));
  }
  add(CandidateKind::kAverage, "average", AverageRecipe(spec));
  return proposed;
}

}  // namespace

std::vector<EventBody> JobDriver::Next(absl::Time now) {
  if (state_.seq() == 0) return Prepare();
  if (state_.over()) {
    optimizer_.reset();  // a large covariance matrix
    decoder_.reset();
    return {};
  }
  if (state_.phase() == JobPhase::kSearch) return Search(now);
  if (!state_.idle()) return {};
  switch (state_.phase()) {
    case JobPhase::kPreparing:
      return Proposed(CandidateKind::kPrepare) ? AfterPrepare() : Prepare();
    case JobPhase::kBaselines: {
      if (!Proposed(CandidateKind::kAverage)) return Baselines();
      std::vector<EventBody> events;
      events.emplace_back(PhaseStarted{JobPhase::kSearch, ""});
      return events;
    }
    case JobPhase::kHeldOut:
      if (!Proposed(CandidateKind::kHeldOut)) return HeldOut();
      return EndJob(state_, JobPhase::kSucceeded, "");
    default:
      return {};
  }
}

bool JobDriver::Proposed(CandidateKind kind) const {
  return !state_.candidates().empty() && state_.candidates().back().kind == kind;
}

std::vector<EventBody> JobDriver::Enter(JobPhase phase, CandidatesProposed candidates) const {
  std::vector<EventBody> events;
  // A phase and its candidates are one append, but a log that was cut between them is finished all the same.
  if (state_.seq() == 0 || state_.phase() != phase) events.emplace_back(PhaseStarted{phase, ""});
  events.emplace_back(std::move(candidates));
  return events;
}

std::vector<EventBody> JobDriver::Prepare() const {
  Candidate candidate;
  candidate.kind = CandidateKind::kPrepare;
  candidate.benchmarks = Names(state_.spec().benchmarks);
  for (const std::string& name : Names(state_.spec().held_out)) candidate.benchmarks.push_back(name);
  return Enter(JobPhase::kPreparing, {{candidate}});
}

std::vector<EventBody> JobDriver::AfterPrepare() {
  const Candidate& prepare = state_.candidates().front();
  if (prepare.state != CandidateState::kSucceeded) {
    return EndJob(state_, JobPhase::kFailed, absl::StrCat("the job cannot be loaded: ", prepare.message));
  }
  // Looked at now, so that a wrong space does not cost the baselines first.
  if (absl::Status made = MakeSearch(); !made.ok()) {
    return EndJob(state_, JobPhase::kFailed, std::string(made.message()));
  }
  return Baselines();
}

std::vector<EventBody> JobDriver::Baselines() const {
  return Enter(JobPhase::kBaselines, SourcesAndAverage(state_, /*held_out=*/false));
}

absl::Status JobDriver::MakeSearch() {
  if (optimizer_ != nullptr) return absl::OkStatus();
  const JobSpec& spec = state_.spec();
  if (!state_.facts().has_value()) return absl::InternalError("the job was not prepared");
  MG_ASSIGN_OR_RETURN(ParameterSpaceDecoder decoder,
                      ParameterSpaceDecoder::Create(spec, state_.facts()->num_layers));
  MG_ASSIGN_OR_RETURN(optimizer_, CreateOptimizer(spec.optimizer, decoder.dimension(), spec.seed));
  decoder_ = std::move(decoder);
  dimension_ = decoder_->dimension();
  population_ = optimizer_->batch_size();
  return absl::OkStatus();
}

absl::Status JobDriver::Reask(const std::vector<int64_t>& generation) {
  MG_ASSIGN_OR_RETURN(const std::vector<Proposal> proposals,
                      optimizer_->Ask(static_cast<int>(generation.size())));
  std::vector<Proposal> logged;
  for (int64_t number : generation) {
    const Candidate& candidate = *state_.Find(number);
    logged.push_back({candidate.proposal, candidate.genome});
  }
  if (logged == proposals) return absl::OkStatus();
  MG_LOG(WARNING) << "replayed optimizer proposes other genomes, the log's are used job=" << state_.id()
                  << " generation=" << asked_;
  return optimizer_->Adopt(logged);
}

absl::Status JobDriver::CatchUp() {
  for (; told_ < state_.generations().size(); ++told_) {
    const std::vector<int64_t>& generation = state_.generations()[told_];
    if (told_ == asked_) {
      MG_RETURN_IF_ERROR(Reask(generation));
      ++asked_;
    }
    std::vector<Outcome> outcomes;
    for (int64_t number : generation) {
      const Candidate& candidate = *state_.Find(number);
      if (!IsTerminal(candidate.state)) return absl::OkStatus();
      const bool failed = candidate.state != CandidateState::kSucceeded;
      outcomes.push_back({candidate.proposal, candidate.fitness, failed});
    }
    MG_RETURN_IF_ERROR(optimizer_->Tell(outcomes));
  }
  return absl::OkStatus();
}

std::vector<EventBody> JobDriver::Search(absl::Time now) {
  absl::Status status = MakeSearch();
  if (status.ok()) status = CatchUp();
  if (!status.ok()) {
    return EndJob(state_, JobPhase::kFailed, absl::StrCat("the search cannot go on: ", status.message()));
  }
  if (state_.search_finished() >= kGiveUpAfter &&
      state_.search_failed() * 2 > state_.search_finished()) {
    return EndJob(state_, JobPhase::kFailed,
                  absl::StrCat(state_.search_failed(), " of the first ", state_.search_finished(),
                               " candidates failed; most often: ", MostFrequentFailure()));
  }
  if (!state_.idle()) return {};
  if (BudgetReached(now)) return AfterSearch();
  if (const std::string reason = optimizer_->StopReason(); !reason.empty() && !collapse_logged_) {
    collapse_logged_ = true;  // the budget is a promise, so the search goes on
    MG_LOG(WARNING) << "the search has converged, more candidates may bring little job=" << state_.id()
                    << " reason=\"" << reason << "\"";
  }
  return Propose();
}

std::vector<EventBody> JobDriver::Propose() {
  int64_t count = optimizer_->batch_size();
  const int64_t budget = state_.spec().budget.candidates;
  if (budget > 0) count = std::min(count, budget - state_.search_proposed());
  absl::StatusOr<std::vector<Proposal>> proposals = optimizer_->Ask(static_cast<int>(count));
  if (!proposals.ok()) {
    return EndJob(state_, JobPhase::kFailed,
                  absl::StrCat("the optimizer proposes nothing: ", proposals.status().message()));
  }
  CandidatesProposed proposed;
  std::vector<EventBody> undecodable;
  for (Proposal& proposal : *proposals) {
    Candidate candidate;
    candidate.number = static_cast<int64_t>(state_.candidates().size() + proposed.candidates.size());
    candidate.kind = CandidateKind::kSearch;
    candidate.generation = static_cast<int64_t>(asked_);
    candidate.proposal = proposal.id;
    candidate.genome = std::move(proposal.genome);
    candidate.benchmarks = Names(state_.spec().benchmarks);
    absl::StatusOr<Recipe> recipe = decoder_->Decode(candidate.genome);
    if (recipe.ok()) {
      candidate.recipe = *std::move(recipe);
    } else {
      undecodable.emplace_back(CandidateFinished{.candidate = candidate.number,
                                              .state = CandidateState::kFailed,
                                              .message = std::string(recipe.status().message())});
    }
    proposed.candidates.push_back(std::move(candidate));
  }
  ++asked_;
  std::vector<EventBody> events;
  events.emplace_back(std::move(proposed));
  Append(std::move(undecodable), events);
  return events;
}

bool JobDriver::BudgetReached(absl::Time now) const {
  const Budget& budget = state_.spec().budget;
  if (budget.candidates > 0 && state_.search_proposed() >= budget.candidates) return true;
  const auto generations = static_cast<int64_t>(state_.generations().size());
  if (budget.generations > 0 && generations >= budget.generations) return true;
  if (now - state_.create_time() >= budget.wall_time) return true;
  return budget.target.has_value() && state_.best().has_value() &&
         state_.Find(*state_.best())->fitness[0] >= *budget.target;
}

std::vector<EventBody> JobDriver::AfterSearch() const {
  if (!state_.best().has_value()) {
    const std::string why =
        state_.search_finished() == 0
            ? "budget.wall_time was over before the search began"
            : absl::StrCat("no candidate succeeded; most often: ", MostFrequentFailure());
    return EndJob(state_, JobPhase::kFailed, why);
  }
  if (state_.spec().held_out.empty()) return EndJob(state_, JobPhase::kSucceeded, "");
  return HeldOut();
}

std::vector<EventBody> JobDriver::HeldOut() const {
  CandidatesProposed proposed = SourcesAndAverage(state_, /*held_out=*/true);
  Candidate winner;
  winner.number = proposed.candidates.back().number + 1;
  winner.kind = CandidateKind::kHeldOut;
  winner.label = "winner";
  winner.recipe = state_.Find(*state_.best())->recipe;
  winner.benchmarks = Names(state_.spec().held_out);
  proposed.candidates.push_back(std::move(winner));
  return Enter(JobPhase::kHeldOut, std::move(proposed));
}

std::string JobDriver::MostFrequentFailure() const {
  std::map<std::string, int64_t> counts;
  for (const Candidate& candidate : state_.candidates()) {
    if (candidate.kind == CandidateKind::kSearch && candidate.state == CandidateState::kFailed) {
      ++counts[candidate.message];
    }
  }
  if (counts.empty()) return "no reason given";
  const auto most = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
    return a.second < b.second;
  });
  return absl::StrCat(most->first, " (", most->second, " of ", state_.search_failed(), ")");
}

JobSummary JobDriver::Summary() const {
  JobSummary summary = state_.Summary();
  summary.dimension = dimension_;
  summary.population = population_;
  if (population_ == 0 && !state_.generations().empty()) {
    // A job that was over before this process replayed it.
    const std::vector<int64_t>& generation = state_.generations().front();
    summary.dimension = static_cast<int>(state_.Find(generation.front())->genome.size());
    summary.population = static_cast<int>(generation.size());
  }
  const Budget& budget = state_.spec().budget;
  summary.search_total = budget.candidates;
  if (budget.generations > 0 && summary.population > 0) {
    const int64_t by_generations = budget.generations * summary.population;
    if (summary.search_total == 0 || by_generations < summary.search_total) {
      summary.search_total = by_generations;
    }
  }
  return summary;
}

}  // namespace merganser

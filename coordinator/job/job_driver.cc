#include "coordinator/job/job_driver.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/race.h"
#include "coordinator/job/ranking.h"
#include "coordinator/job/sample_choice.h"
#include "coordinator/job/stage_budget.h"
#include "coordinator/job/stage_population.h"
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
    candidate.benchmarks = held_out ? Names(spec.held_out) : SearchBenchmarks(spec);
    proposed.candidates.push_back(std::move(candidate));
  };
  for (const ModelRef& model : spec.models) {
    add(CandidateKind::kSource, model.name, SourceRecipe(spec, model.name));
  }
  add(CandidateKind::kAverage, "average", AverageRecipe(spec));
  return proposed;
}

}  // namespace

std::vector<EventBody> JobDriver::Next(absl::Time now, int slots) {
  if (state_.seq() == 0) return Prepare();
  if (state_.over()) {
    optimizer_.reset();  // a large covariance matrix
    space_.reset();
    return {};
  }
  if (state_.paused()) return {};
  if (std::vector<EventBody> known = FinishKnown(); !known.empty()) return known;
  if (state_.phase() == JobPhase::kSearch) return Search(now, slots);
  if (!state_.idle()) return {};
  switch (state_.phase()) {
    case JobPhase::kPreparing:
      return Proposed(CandidateKind::kPrepare) ? AfterPrepare() : Prepare();
    case JobPhase::kBaselines: {
      if (!Proposed(CandidateKind::kAverage)) return Baselines();
      if (absl::Status scores = CheckScores(state_); !scores.ok()) {
        return EndJob(state_, JobPhase::kFailed, std::string(scores.message()));
      }
      std::vector<EventBody> events;
      events.emplace_back(PhaseStarted{JobPhase::kSearch, ""});
      return events;
    }
    case JobPhase::kFinalists:
      if (!Proposed(CandidateKind::kFinalist)) return Finalists();
      return AfterFinalists();
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
  if (absl::Status made = BeginStage(0, std::nullopt); !made.ok()) {
    return EndJob(state_, JobPhase::kFailed, std::string(made.message()));
  }
  return Baselines();
}

std::vector<EventBody> JobDriver::Baselines() const {
  return Enter(JobPhase::kBaselines, SourcesAndAverage(state_, /*held_out=*/false));
}

absl::Status JobDriver::Check(const JobSpec& spec) {
  for (int i = 0; i < NumStages(spec); ++i) {
    const SearchStage stage = StageOf(spec, i);
    // The genome's size is known only when a worker has loaded the models; the options can be wrong before that.
    const auto genes = static_cast<int>(stage.parameter.sources.size() * stage.parameter.bounds.size());
    if (spec.samples.racing && ToldNumbers(spec, stage.optimizer) > 1) {
      return absl::InvalidArgumentError(absl::StrCat("samples.racing: ", StageField(i), "optimizer ", stage.optimizer.name,
                                                     " learns from each objective, and a race compares their weighted sum"));
    }
    const auto optimizer = CreateOptimizer(stage.optimizer, GenomeSpec::Continuous(std::max(2, genes)),
                                           ToldNumbers(spec, stage.optimizer), spec.seed);
    if (!optimizer.ok()) {
      return absl::Status(optimizer.status().code(), absl::StrCat(StageField(i), optimizer.status().message()));
    }
  }
  return absl::OkStatus();
}

absl::Status JobDriver::BeginStage(int stage, std::optional<int64_t> winner, int population) {
  if (stage_ == stage) return absl::OkStatus();
  const JobSpec& spec = state_.spec();
  if (!state_.facts().has_value()) return absl::InternalError("the job was not prepared");
  in_ = StageOf(spec, stage);
  std::optional<Recipe> recipe;
  if (winner.has_value()) recipe = state_.RecipeOf(*winner);
  MG_ASSIGN_OR_RETURN(space_,
                      SearchSpace::Create(spec, state_.facts()->num_layers, stage, recipe.has_value() ? &*recipe : nullptr,
                                          ArchitectureSees(state_.facts()->architecture)));
  MG_RETURN_IF_ERROR(MakeOptimizer(stage, population));
  stage_ = stage;
  several_ = ToldNumbers(spec, in_.optimizer) > 1;
  asked_ = 0;
  finished_.clear();
  dimension_ = space_->dimension();
  collapse_logged_ = false;
  return absl::OkStatus();
}

absl::Status JobDriver::MakeOptimizer(int stage, int population) {
  const JobSpec& spec = state_.spec();
  OptimizerSpec options = in_.optimizer;
  if (population > 0 && PopulationFollowsSlots(options)) options.numbers["population"] = population;
  // Stages of equal spaces and optimizers must not draw the same numbers.
  const uint64_t seed = spec.seed + static_cast<uint64_t>(stage);
  auto optimizer = CreateOptimizer(options, space_->genome(), ToldNumbers(spec, options), seed);
  if (!optimizer.ok()) {
    return absl::Status(optimizer.status().code(), absl::StrCat(StageField(stage), optimizer.status().message()));
  }
  optimizer_ = *std::move(optimizer);
  population_ = optimizer_->batch_size();
  return absl::OkStatus();
}

absl::Status JobDriver::ChoosePopulation(int slots) {
  slots_ = slots;
  if (!PopulationFollowsSlots(in_.optimizer)) return absl::OkStatus();
  const int64_t samples = SamplesPerCandidate(state_.spec(), *state_.facts());
  const int population = PopulationForSlots(in_.budget, samples, population_, slots);
  return population == population_ ? absl::OkStatus() : MakeOptimizer(stage_, population);
}

absl::Status JobDriver::Reask(const std::vector<int64_t>& proposed) {
  MG_ASSIGN_OR_RETURN(const std::vector<Proposal> proposals, optimizer_->Ask(static_cast<int>(proposed.size())));
  asked_ += static_cast<int64_t>(proposed.size());
  reasked_ += static_cast<int64_t>(proposed.size());
  std::vector<Proposal> logged;
  for (int64_t number : proposed) {
    const Candidate& candidate = *state_.Find(number);
    logged.push_back({candidate.proposal, candidate.genome});
  }
  if (logged == proposals) return absl::OkStatus();
  MG_LOG(WARNING) << "replayed optimizer proposes other genomes, the log's are used job=" << state_.id()
                  << " candidate=" << proposed.front();
  return optimizer_->Adopt(logged);
}

absl::Status JobDriver::TellFinished() {
  if (finished_.empty()) return absl::OkStatus();
  std::vector<Outcome> outcomes;
  for (int64_t number : finished_) {
    const Candidate& candidate = *state_.Find(number);
    Outcome outcome{.id = candidate.proposal, .failed = candidate.state != CandidateState::kSucceeded};
    if (!outcome.failed) outcome.fitness = ToldFitness(state_.spec(), state_.candidates(), candidate, several_);
    outcomes.push_back(std::move(outcome));
  }
  // In order of proposal, whatever the order in which workers were done.
  std::sort(outcomes.begin(), outcomes.end(), [](const Outcome& a, const Outcome& b) { return a.id < b.id; });
  finished_.clear();
  return optimizer_->Tell(outcomes);
}

absl::Status JobDriver::CatchUp() {
  const std::vector<SearchStep>& steps = state_.search_steps();
  for (; seen_ < steps.size(); ++seen_) {
    const SearchStep& step = steps[seen_];
    if (step.proposed.empty()) {
      finished_.push_back(step.finished);
      continue;
    }
    const Candidate& first = *state_.Find(step.proposed.front());
    if (first.stage != stage_) {
      const StageState& begun = state_.stages()[first.stage];
      MG_RETURN_IF_ERROR(BeginStage(first.stage, begun.winner, begun.population));
    }
    if (first.proposal < asked_) continue;  // this driver's own
    MG_RETURN_IF_ERROR(TellFinished());
    MG_RETURN_IF_ERROR(Reask(step.proposed));
  }
  return absl::OkStatus();
}

const StageState* JobDriver::CurrentStage() const { return FindStage(state_, stage_); }

std::vector<EventBody> JobDriver::Search(absl::Time now, int slots) {
  absl::Status status = CatchUp();
  if (status.ok() && stage_ < 0) status = BeginStage(0, std::nullopt);
  if (status.ok()) in_.budget = StageOf(state_.spec(), stage_).budget;  // an update may have changed it
  if (status.ok() && CurrentStage() == nullptr) status = ChoosePopulation(slots);
  if (!status.ok()) {
    return EndJob(state_, JobPhase::kFailed, absl::StrCat("the search cannot go on: ", status.message()));
  }
  if (const int64_t finished = state_.recently_finished(), failed = state_.recently_failed();
      finished >= kGiveUpAfter && failed * 2 > finished) {
    return EndJob(state_, JobPhase::kFailed,
                  absl::StrCat(failed, " of the first ", finished, " candidates",
                               state_.resumed_seq() > 0 ? " since the job was resumed" : "",
                               " failed; most often: ", MostFrequentFailure()));
  }
  if (std::vector<EventBody> twins = FinishTwins(); !twins.empty()) return twins;
  if (!state_.waiting().empty() && state_.queued().empty() && state_.running().empty()) return DecideRace(state_);
  const bool rolling = state_.spec().mode == SearchMode::kRolling;
  if (!rolling && !state_.idle()) return {};
  const auto in_flight = static_cast<int64_t>(state_.queued().size() + state_.running().size());
  if (BudgetReached(now)) {
    if (in_flight > 0) return {};
    if (stage_ + 1 == NumStages(state_.spec()) || !state_.best().has_value()) return AfterSearch();
    if (absl::Status begun = BeginStage(stage_ + 1, state_.best()); !begun.ok()) {
      return EndJob(state_, JobPhase::kFailed, std::string(begun.message()));
    }
    return Search(now, slots);
  }
  const int64_t count = std::min(CandidatesLeft(state_, stage_, in_.budget, population_),
                                 optimizer_->batch_size() - (rolling ? in_flight : 0));
  if (count <= 0) return {};
  if (absl::Status told = TellFinished(); !told.ok()) {
    return EndJob(state_, JobPhase::kFailed, absl::StrCat("the search cannot go on: ", told.message()));
  }
  if (const std::string reason = optimizer_->StopReason(); !reason.empty() && !collapse_logged_) {
    collapse_logged_ = true;  // the budget is a promise, so the search goes on
    MG_LOG(WARNING) << "the search has converged, more candidates may bring little job=" << state_.id() << " reason=\""
                    << reason << "\"";
  }
  return Propose(count);
}

std::vector<EventBody> JobDriver::Propose(int64_t count) {
  const JobSpec& spec = state_.spec();
  absl::StatusOr<std::vector<Proposal>> proposals = optimizer_->Ask(static_cast<int>(count));
  if (!proposals.ok()) {
    return EndJob(state_, JobPhase::kFailed, absl::StrCat("the optimizer proposes nothing: ", proposals.status().message()));
  }
  const StageState* stage = CurrentStage();
  const auto next_generation = static_cast<int64_t>(state_.generations().size());
  int64_t generation = next_generation;
  if (spec.mode == SearchMode::kRolling && stage != nullptr) {
    generation = std::min(next_generation, stage->first_generation + asked_ / population_);
  }
  const std::vector<std::string> benchmarks = BenchmarksOfGeneration(state_, generation);
  CandidatesProposed proposed;
  std::vector<EventBody> ended;  // at once: undecodable, or known
  for (Proposal& proposal : *proposals) {
    Candidate candidate;
    candidate.number = static_cast<int64_t>(state_.candidates().size() + proposed.candidates.size());
    candidate.kind = CandidateKind::kSearch;
    candidate.stage = stage_;
    candidate.generation = generation;
    candidate.proposal = proposal.id;
    candidate.genome = std::move(proposal.genome);
    candidate.benchmarks = benchmarks;
    absl::StatusOr<Recipe> recipe = space_->Decode(candidate.genome);
    if (recipe.ok()) {
      candidate.recipe = *std::move(recipe);
      if (const std::optional<int64_t> twin = known_.SucceededTwinOf(candidate)) {
        ended.emplace_back(FinishAsTwin(candidate.number, *twin));
      }
    } else {
      ended.emplace_back(CandidateFinished{.candidate = candidate.number,
                                           .state = CandidateState::kFailed,
                                           .message = std::string(recipe.status().message())});
    }
    proposed.candidates.push_back(std::move(candidate));
  }
  asked_ += count;
  std::vector<EventBody> events;
  if (stage == nullptr) {
    proposed.population = population_;
    proposed.slots = slots_;
    LogPopulation(state_.id(), stage_, population_, slots_);
  }
  events.emplace_back(std::move(proposed));
  Append(std::move(ended), events);
  return events;
}

bool JobDriver::BudgetReached(absl::Time now) const {
  return merganser::BudgetReached(state_, stage_, in_.budget, population_, now);
}

bool JobDriver::BudgetAllowsMore(const JobState& state, int stage, const Budget& budget, absl::Time now) {
  const StageState& begun = state.stages()[stage];
  const auto population = static_cast<int64_t>(state.generations()[begun.first_generation].size());
  return !merganser::BudgetReached(state, stage, budget, population, now);
}

std::vector<EventBody> JobDriver::AfterSearch() {
  if (!state_.best().has_value()) {
    const std::string why = state_.search_finished() == 0
                                ? "budget.wall_time was over before the search began"
                                : absl::StrCat("no candidate succeeded; most often: ", MostFrequentFailure());
    return EndJob(state_, JobPhase::kFailed, why);
  }
  return state_.spec().finalists.count > 0 ? Finalists() : AfterFinalists();
}

std::vector<EventBody> JobDriver::AfterFinalists() const {
  if (state_.spec().held_out.empty()) return EndJob(state_, JobPhase::kSucceeded, "");
  return HeldOut();
}

std::vector<EventBody> JobDriver::Finalists() {
  const JobSpec& spec = state_.spec();
  std::vector<const Candidate*> best;
  for (const Candidate& candidate : state_.candidates()) {
    if (candidate.kind != CandidateKind::kSearch || candidate.state != CandidateState::kSucceeded) continue;
    if (!candidate.stop.has_value()) best.push_back(&candidate);
  }
  std::stable_sort(best.begin(), best.end(),
                   [&](const Candidate* a, const Candidate* b) { return RanksBefore(spec, state_.candidates(), *a, *b); });
  CandidatesProposed proposed;
  const auto add = [&](const std::string& label, const Recipe& recipe) {
    for (const Candidate& other : proposed.candidates) {
      if (other.recipe == recipe) return;
    }
    Candidate candidate;
    candidate.number = static_cast<int64_t>(state_.candidates().size() + proposed.candidates.size());
    candidate.kind = CandidateKind::kFinalist;
    candidate.label = label;
    candidate.recipe = recipe;
    candidate.benchmarks = {spec.finalists.benchmark};
    proposed.candidates.push_back(std::move(candidate));
  };
  for (const Candidate* candidate : best) {
    if (static_cast<int>(proposed.candidates.size()) == spec.finalists.count) break;
    add(absl::StrCat("candidate ", candidate->number), state_.RecipeOf(candidate->number));
  }
  // The mean has averaged over the noise of many candidates. After a restart in this phase the optimizer is made again.
  absl::Status status = CatchUp();
  if (status.ok()) status = TellFinished();
  if (status.ok() && optimizer_ != nullptr) {
    const std::vector<double> mean = optimizer_->Mean();
    const auto recipe = mean.empty() ? absl::StatusOr<Recipe>(absl::NotFoundError("no mean")) : space_->Decode(mean);
    if (recipe.ok()) add("mean", *recipe);
  }
  return Enter(JobPhase::kFinalists, std::move(proposed));
}

std::vector<EventBody> JobDriver::HeldOut() const {
  CandidatesProposed proposed = SourcesAndAverage(state_, /*held_out=*/true);
  const auto add = [&](const std::string& label, int64_t number) {
    Candidate candidate;
    candidate.kind = CandidateKind::kHeldOut;
    candidate.label = label;
    candidate.recipe = state_.RecipeOf(number);
    candidate.benchmarks = Names(state_.spec().held_out);
    proposed.candidates.push_back(std::move(candidate));
  };
  for (size_t i = 1; i < state_.stages().size(); ++i) {
    if (state_.stages()[i].winner.has_value()) add(absl::StrCat("stage-", i), *state_.stages()[i].winner);
  }
  add("winner", *state_.best());
  // A job that went on has scores from before.
  std::map<std::string, const Candidate*> scored;
  for (const Candidate& candidate : state_.candidates()) {
    if (candidate.kind == CandidateKind::kHeldOut) scored[candidate.label] = &candidate;
  }
  std::erase_if(proposed.candidates, [&](const Candidate& candidate) {
    const auto before = scored.find(candidate.label);
    return before != scored.end() && before->second->state == CandidateState::kSucceeded &&
           before->second->recipe == candidate.recipe;
  });
  if (proposed.candidates.empty()) return EndJob(state_, JobPhase::kSucceeded, "");
  for (size_t i = 0; i < proposed.candidates.size(); ++i) {
    proposed.candidates[i].number = static_cast<int64_t>(state_.candidates().size() + i);
  }
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
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return absl::StrCat(most->first, " (", most->second, " of ", state_.search_failed(), ")");
}

JobSummary JobDriver::Summary() const {
  JobSummary summary = state_.Summary();
  summary.dimension = dimension_;
  if (population_ > 0) summary.population = population_;
  if (population_ == 0 && !state_.generations().empty()) {
    // A job that was over before this process replayed it.
    const std::vector<int64_t>& generation = state_.generations().front();
    summary.dimension = static_cast<int>(state_.Find(generation.front())->genome.size());
    if (summary.population == 0) summary.population = static_cast<int>(generation.size());
  }
  for (int i = 0; i < NumStages(state_.spec()); ++i) {
    const Budget budget = StageOf(state_.spec(), i).budget;
    int64_t total = budget.candidates;
    const int64_t by_generations = budget.generations * summary.population;
    if (by_generations > 0 && (total == 0 || by_generations < total)) total = by_generations;
    if (total == 0) return summary;  // only time, samples or a target bounds it
    summary.search_total += total;
  }
  return summary;
}

}  // namespace merganser

#include "coordinator/job/job_state.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transfer/checkpoint_files.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/ranking.h"

namespace merganser {
namespace {

absl::Status Unfit(absl::string_view what) { return absl::DataLossError(what); }

absl::string_view KindOf(const EventBody& body) {
  constexpr const char* kNames[] = {"CandidatesProposed", "AttemptStarted", "AttemptEnded", "CandidateFinished",
                                    "PhaseStarted",       "ActionTaken",    "BlockScored",  "RaceAdvanced"};
  return kNames[body.index()];
}

void Add(const PhaseTimings& t, PhaseTimings& sum) {
  sum.materialize += t.materialize;
  sum.tokenize += t.tokenize;
  sum.prefill += t.prefill;
  sum.decode += t.decode;
  sum.score += t.score;
  sum.record += t.record;
}

}  // namespace

int CountedAttempts(const Candidate& candidate) {
  int counted = 0, unavailable = 0;
  for (const Attempt& attempt : candidate.attempts) {
    if (!attempt.failure.has_value() || *attempt.failure == FailureClass::kReleased || attempt.speculative ||
        attempt.forgiven) {
      continue;
    }
    if (*attempt.failure == FailureClass::kUnavailable && ++unavailable <= kFreeUnavailable) continue;
    ++counted;
  }
  return counted;
}

const Attempt* LiveAttempt(const Candidate& candidate) {
  for (auto attempt = candidate.attempts.rbegin(); attempt != candidate.attempts.rend(); ++attempt) {
    if (!attempt->ended) return &*attempt;
  }
  return nullptr;
}

int LiveAttempts(const Candidate& candidate) {
  return static_cast<int>(
      std::count_if(candidate.attempts.begin(), candidate.attempts.end(), [](const Attempt& a) { return !a.ended; }));
}

JobState::JobState(std::string id, JobSpec spec)
    : id_(std::move(id)),
      submitted_spec_(std::make_shared<const JobSpec>(std::move(spec))),
      assigned_spec_(submitted_spec_),
      spec_(submitted_spec_) {
  if (!KeepsScores(*spec_)) return;
  for (const BenchmarkSpec& b : spec_->benchmarks) shared_names_[b.name] = SharedName(*spec_, b.name);
}

const std::string& JobState::shared_name(const std::string& benchmark) const {
  const auto shared = shared_names_.find(benchmark);
  return shared == shared_names_.end() ? benchmark : shared->second;
}

absl::Duration JobState::paused_time(absl::Time now) const {
  return paused_time_ + (paused_ ? std::max(absl::ZeroDuration(), now - paused_since_) : absl::ZeroDuration());
}

bool JobState::IsPast(const Candidate& candidate, const Attempt& attempt) const {
  return candidate.blocks > 0 && (attempt.blocks != candidate.blocks || waiting_.count(candidate.number) != 0);
}

std::set<int64_t> JobState::unfinished() const {
  std::set<int64_t> all = queued_;
  all.insert(running_.begin(), running_.end());
  all.insert(waiting_.begin(), waiting_.end());
  return all;
}

const Candidate* JobState::Find(int64_t number) const {
  if (number < 0 || number >= static_cast<int64_t>(candidates_.size())) return nullptr;
  return &candidates_[number];
}

absl::Status JobState::Apply(int64_t seq, JobEvent event) {
  absl::Status fits;
  if (seq != seq_ + 1) {
    fits = Unfit(absl::StrCat("expected event ", seq_ + 1));
  } else if (const auto* action = std::get_if<ActionTaken>(&event.body);
             over() && (action == nullptr ||
                        (!action->reopens && (action->kind != ActionKind::kUpdated || phase_ != JobPhase::kFailed)))) {
    fits = Unfit(absl::StrCat("the job is over (", ToString(phase_), ")"));
  } else {
    fits = std::visit([this](const auto& body) { return Check(body); }, event.body);
  }
  if (!fits.ok()) return Annotate(fits, absl::StrCat(id_, " event ", seq, " (", KindOf(event.body), ")"));
  if (seq == 1) create_time_ = event.time;
  seq_ = seq;
  std::visit([&](auto& body) { Take(std::move(body), event.time); }, event.body);
  return absl::OkStatus();
}

absl::Status JobState::Check(const CandidatesProposed& e) const {
  int64_t number = static_cast<int64_t>(candidates_.size());
  const auto next = static_cast<int64_t>(generations_.size());
  const int stage = static_cast<int>(stages_.size()) - 1;
  for (const Candidate& candidate : e.candidates) {
    if (candidate.number != number) {
      return Unfit(absl::StrCat("candidate ", candidate.number, " where ", number, " comes next"));
    }
    ++number;
    if (candidate.kind != CandidateKind::kSearch) continue;
    // A rolling search adds to its newest generation.
    const bool adds = spec_->mode == SearchMode::kRolling && candidate.stage == stage && candidate.generation == next - 1;
    if (candidate.generation != next && !adds) {
      return Unfit(absl::StrCat("candidate ", candidate.number, " is of generation ", candidate.generation, " where ", next,
                                " comes next"));
    }
    if (candidate.stage < std::max(stage, 0) || candidate.stage > stage + 1 || candidate.stage >= NumStages(*spec_) ||
        candidate.generation != e.candidates.front().generation || candidate.stage != e.candidates.front().stage) {
      return Unfit(absl::StrCat("candidate ", candidate.number, " is of stage ", candidate.stage, " after ", stage));
    }
  }
  const bool begins = !e.candidates.empty() && e.candidates.front().kind == CandidateKind::kSearch &&
                      e.candidates.front().stage == stage + 1;
  if (e.population < 0 || e.slots < 0 || (!begins && (e.population > 0 || e.slots > 0))) {
    return Unfit(absl::StrCat("population ", e.population, " for ", e.slots, " slots where no stage begins"));
  }
  return absl::OkStatus();
}

void JobState::Take(CandidatesProposed&& e, absl::Time time) {
  std::vector<int64_t> search;
  for (Candidate& proposed : e.candidates) {
    Candidate candidate;
    candidate.number = proposed.number;
    candidate.kind = proposed.kind;
    candidate.label = std::move(proposed.label);
    candidate.stage = proposed.stage;
    candidate.generation = proposed.generation;
    candidate.proposal = proposed.proposal;
    candidate.genome = std::move(proposed.genome);
    candidate.recipe = std::move(proposed.recipe);
    candidate.benchmarks = std::move(proposed.benchmarks);
    candidate.create_time = time;
    if (candidate.kind == CandidateKind::kSearch) {
      search.push_back(candidate.number);
      if (spec_->samples.racing) candidate.blocks = 1;
    }
    queued_.insert(candidate.number);
    queued_since_.push_back(time);
    candidates_.push_back(std::move(candidate));
  }
  if (search.empty()) return;
  // Nothing is in flight in a job that keeps scores, which is synchronous.
  known_samples_.Trim();
  const Candidate& first = candidates_[search.front()];
  if (first.stage == static_cast<int>(stages_.size())) {
    stages_.push_back({.first_generation = first.generation,
                       .start_time = time,
                       .paused_before = paused_time(time),
                       .winner = best_,
                       .population = e.population,
                       .slots = e.slots});
  }
  StageState& stage = stages_.back();
  search_proposed_ += static_cast<int64_t>(search.size());
  stage.proposed += static_cast<int64_t>(search.size());
  if (first.generation == static_cast<int64_t>(generations_.size())) {
    generations_.emplace_back();
    ++stage.generations;
  }
  generations_.back().insert(generations_.back().end(), search.begin(), search.end());
  steps_.push_back({.proposed = std::move(search)});
}

absl::Status JobState::Check(const AttemptStarted& e) const {
  const Candidate* candidate = Find(e.candidate);
  if (candidate == nullptr) return Unfit(absl::StrCat("unknown candidate ", e.candidate));
  if (waiting_.count(e.candidate) != 0) return Unfit(absl::StrCat("candidate ", e.candidate, " waits for its race"));
  if (candidate->state != (e.speculative ? CandidateState::kRunning : CandidateState::kQueued)) {
    return Unfit(absl::StrCat("candidate ", e.candidate, " is ", ToString(candidate->state)));
  }
  if (e.speculative && LiveAttempts(*candidate) != 1) {
    return Unfit(absl::StrCat("candidate ", e.candidate, " has ", LiveAttempts(*candidate), " live attempts"));
  }
  if (e.attempt != static_cast<int>(candidate->attempts.size()) + 1) {
    return Unfit(absl::StrCat("attempt ", e.attempt, " of candidate ", e.candidate, " where ",
                              candidate->attempts.size() + 1, " comes next"));
  }
  return absl::OkStatus();
}

void JobState::Take(const AttemptStarted& e, absl::Time time) {
  Candidate& candidate = candidates_[e.candidate];
  candidate.attempts.push_back({.number = e.attempt,
                                .token = e.token,
                                .worker = e.worker,
                                .start_time = time,
                                .speculative = e.speculative,
                                .blocks = candidate.blocks});
  candidate.state = CandidateState::kRunning;
  queued_.erase(e.candidate);
  running_.insert(e.candidate);
}

absl::Status JobState::Check(const AttemptEnded& e) const {
  const Candidate* candidate = Find(e.candidate);
  if (candidate == nullptr) return Unfit(absl::StrCat("unknown candidate ", e.candidate));
  const bool live = e.attempt >= 1 && e.attempt <= static_cast<int>(candidate->attempts.size()) &&
                    !candidate->attempts[e.attempt - 1].ended;
  if (candidate->state != CandidateState::kRunning || !live) {
    return Unfit(absl::StrCat("attempt ", e.attempt, " of candidate ", e.candidate, " is not running"));
  }
  return absl::OkStatus();
}

void JobState::Take(const AttemptEnded& e, absl::Time time) {
  Candidate& candidate = candidates_[e.candidate];
  Attempt& attempt = candidate.attempts[e.attempt - 1];
  attempt.ended = true;
  attempt.failure = e.failure;
  attempt.message = e.message;
  if (LiveAttempts(candidate) > 0) return;
  candidate.state = CandidateState::kQueued;
  running_.erase(e.candidate);
  queued_.insert(e.candidate);
  queued_since_[e.candidate] = time;
}

absl::Status JobState::Check(const CandidateFinished& e) const {
  const Candidate* candidate = Find(e.candidate);
  if (candidate == nullptr) return Unfit(absl::StrCat("unknown candidate ", e.candidate));
  if (IsTerminal(candidate->state)) {
    return Unfit(absl::StrCat("candidate ", e.candidate, " is ", ToString(candidate->state), " already"));
  }
  if (!IsTerminal(e.state)) {
    return Unfit(absl::StrCat("candidate ", e.candidate, " cannot finish as ", ToString(e.state)));
  }
  if (e.attempt < 0 || e.attempt > static_cast<int>(candidate->attempts.size()) ||
      (e.state == CandidateState::kSucceeded && e.attempt == 0 && !e.record_key.empty())) {
    return Unfit(absl::StrCat("unknown attempt ", e.attempt, " of candidate ", e.candidate));
  }
  return absl::OkStatus();
}

void JobState::Take(const CandidateFinished& e, absl::Time time) {
  Candidate& candidate = candidates_[e.candidate];
  // An attempt beside the one that counts ends with its candidate.
  for (Attempt& attempt : candidate.attempts) attempt.ended = true;
  candidate.state = e.state;
  candidate.fitness = e.fitness;
  candidate.metrics = e.metrics;
  candidate.record_key = e.record_key;
  candidate.record_sha256 = e.record_sha256;
  candidate.message = e.message;
  candidate.stop = e.stop;
  Add(e.timings, candidate.timings);  // those of earlier blocks are there
  candidate.end_time = time;
  queued_.erase(e.candidate);
  running_.erase(e.candidate);
  waiting_.erase(e.candidate);
  Add(e.timings, timings_);
  if (e.facts.has_value()) {
    facts_ = e.facts;
    JobSpec held = *submitted_spec_;
    HoldToContents(facts_->contents, &held.models);
    if (held != *submitted_spec_) assigned_spec_ = std::make_shared<const JobSpec>(std::move(held));
  }
  Learn(candidate, e.scores);
  const bool succeeded = e.state == CandidateState::kSucceeded;
  ++(succeeded ? succeeded_ : e.state == CandidateState::kFailed ? failed_ : cancelled_);
  if (candidate.kind == CandidateKind::kSearch) {
    ++search_finished_;
    StageState& stage = stages_[static_cast<size_t>(candidate.stage)];
    ++stage.finished;
    Add(e.timings, stage.timings);
    if (!e.stop.has_value()) stage.samples += Evaluated(candidate, e.scores);
    if (e.state == CandidateState::kFailed) ++search_failed_;
    steps_.push_back({.finished = e.candidate});
    recipes_.Put(e.candidate, std::exchange(candidate.recipe, {}));
  } else if (candidate.kind != CandidateKind::kFinalist) {
    return;
  }
  if (!succeeded || e.fitness.empty() || e.stop.has_value()) return;
  if (best_.has_value() && candidates_[*best_].kind == candidate.kind) {
    const Candidate& best = candidates_[*best_];
    if (!RanksBefore(*spec_, candidates_, candidate, best) &&
        (RanksBefore(*spec_, candidates_, best, candidate) || candidate.number > best.number)) {
      return;
    }
  }
  best_ = e.candidate;
}

void JobState::Learn(const Candidate& candidate, const ScoresByBenchmark& scores) {
  for (const auto& [benchmark, of] : scores) {
    known_samples_.Add([this](int64_t number) { return RecipeOf(number); }, candidate, shared_name(benchmark), of);
  }
}

int64_t JobState::Evaluated(const Candidate& candidate, const ScoresByBenchmark& scores) const {
  int64_t samples = 0;
  for (const auto& [benchmark, of] : scores) samples += of.scored.Count();
  if (samples > 0) return samples;
  // One that cost nothing counts all the same, or a search that proposes what it knows would never end.
  if (candidate.attempts.empty() || !facts_.has_value()) return 1;
  const bool scored =
      std::any_of(candidate.attempts.begin(), candidate.attempts.end(), [](const Attempt& a) { return a.scored; });
  return scored ? 0 : SamplesPerCandidate(*spec_, *facts_);
}

absl::Status JobState::Check(const BlockScored& e) const {
  const Candidate* candidate = Find(e.candidate);
  if (candidate == nullptr) return Unfit(absl::StrCat("unknown candidate ", e.candidate));
  if (candidate->blocks == 0 || IsTerminal(candidate->state) || waiting_.count(e.candidate) != 0) {
    return Unfit(absl::StrCat("candidate ", e.candidate, " has no block to be scored"));
  }
  if (e.attempt < 0 || e.attempt > static_cast<int>(candidate->attempts.size()) ||
      (e.attempt == 0) != e.record_key.empty()) {
    return Unfit(absl::StrCat("unknown attempt ", e.attempt, " of candidate ", e.candidate));
  }
  if (e.attempt > 0 && IsPast(*candidate, candidate->attempts[static_cast<size_t>(e.attempt - 1)])) {
    return Unfit(absl::StrCat("attempt ", e.attempt, " of candidate ", e.candidate, " is of an earlier block"));
  }
  return absl::OkStatus();
}

void JobState::Take(const BlockScored& e, absl::Time /*time*/) {
  Candidate& candidate = candidates_[e.candidate];
  for (Attempt& attempt : candidate.attempts) attempt.ended = true;
  if (e.attempt > 0) {
    candidate.attempts[static_cast<size_t>(e.attempt - 1)].scored = true;
    candidate.record_key = e.record_key;
    candidate.record_sha256 = e.record_sha256;
  }
  candidate.state = CandidateState::kQueued;
  queued_.erase(e.candidate);
  running_.erase(e.candidate);
  waiting_.insert(e.candidate);
  Add(e.timings, candidate.timings);
  Add(e.timings, timings_);
  StageState& stage = stages_[static_cast<size_t>(candidate.stage)];
  Add(e.timings, stage.timings);
  stage.samples += Evaluated(candidate, e.scores);
  Learn(candidate, e.scores);
}

absl::Status JobState::Check(const RaceAdvanced& e) const {
  for (const int64_t number : e.candidates) {
    if (waiting_.count(number) == 0) return Unfit(absl::StrCat("candidate ", number, " does not wait for its race"));
    if (e.blocks <= candidates_[number].blocks) {
      return Unfit(absl::StrCat("candidate ", number, " has been scored on ", candidates_[number].blocks,
                                " blocks, not fewer than ", e.blocks));
    }
  }
  return absl::OkStatus();
}

void JobState::Take(const RaceAdvanced& e, absl::Time time) {
  for (const int64_t number : e.candidates) {
    candidates_[number].blocks = e.blocks;
    waiting_.erase(number);
    queued_.insert(number);
    queued_since_[number] = time;
  }
}

absl::Status JobState::Check(const PhaseStarted& e) const {
  if (e.phase == JobPhase::kDamaged) return Unfit("no log has a phase damaged");
  const bool first = seq_ == 0;
  if (first != (e.phase == JobPhase::kPreparing) || (!first && e.phase <= phase_)) {
    return Unfit(
        absl::StrCat("phase ", ToString(e.phase), first ? " comes first" : " after ", first ? "" : ToString(phase_)));
  }
  if (IsTerminal(e.phase) && !idle()) {
    return Unfit(absl::StrCat("phase ", ToString(e.phase), " while ", unfinished().size(), " candidates are not finished"));
  }
  return absl::OkStatus();
}

void JobState::Take(const PhaseStarted& e, absl::Time time) {
  if (IsTerminal(e.phase)) ended_in_ = phase_;
  phase_ = e.phase;
  message_ = e.message;
  if (IsTerminal(e.phase)) end_time_ = time;
}

JobSummary JobState::Summary() const {
  JobSummary s;
  s.id = id_;
  s.spec = *spec_;
  s.phase = phase_;
  s.message = message_;
  s.paused = paused_;
  s.facts = facts_;
  s.generation = std::max<int64_t>(0, static_cast<int64_t>(generations_.size()) - 1);
  if (!stages_.empty()) {
    s.population = stages_.back().population;
    s.slots = stages_.back().slots;
  }
  s.queued = static_cast<int64_t>(queued_.size() + waiting_.size());
  s.running = static_cast<int64_t>(running_.size());
  s.succeeded = succeeded_;
  s.failed = failed_;
  s.cancelled = cancelled_;
  s.search_finished = search_finished_;
  s.best_candidate = best_;
  if (best_.has_value()) s.best_fitness = candidates_[*best_].fitness;
  s.create_time = create_time_;
  s.end_time = end_time_;
  s.seq = seq_;
  s.timings = timings_;
  return s;
}

bool operator==(const JobState& a, const JobState& b) {
  const auto tie = [](const JobState& s) {
    return std::tie(s.id_, *s.spec_, s.seq_, s.phase_, s.ended_in_, s.resumed_seq_, s.message_, s.create_time_, s.end_time_,
                    s.paused_, s.paused_since_, s.paused_time_, s.candidates_, s.queued_since_, s.queued_, s.running_,
                    s.waiting_, s.known_samples_, s.recipes_, s.generations_, s.steps_, s.stages_, s.succeeded_, s.failed_,
                    s.cancelled_, s.search_proposed_, s.search_finished_, s.search_failed_, s.finished_before_,
                    s.failed_before_, s.facts_, s.best_, s.timings_);
  };
  return tie(a) == tie(b);
}

}  // namespace merganser

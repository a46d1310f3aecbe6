// The state of one job: what its events say, nothing else. A restart replays the log into it, so equal logs give equal
// states.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_STATE_H_
#define MERGANSER_COORDINATOR_JOB_JOB_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/domain/candidate.h"
#include "common/domain/events.h"
#include "coordinator/job/known_samples.h"
#include "coordinator/job/packed_recipes.h"

namespace merganser {

using EventBody = decltype(JobEvent::body);

// ActionTaken::by of what the coordinator did itself.
inline constexpr char kByCoordinator[] = "coordinator";

// Fetches that fail before they count: what they wait for may be away for a while.
inline constexpr int kFreeUnavailable = 5;

// Attempts that count against JobSpec::max_attempts: those that ended without a result, but for released, speculative and
// forgiven ones and the first kFreeUnavailable that were kUnavailable.
int CountedAttempts(const Candidate& candidate);
// The newest attempt that a worker holds, nullptr if none.
const Attempt* LiveAttempt(const Candidate& candidate);
int LiveAttempts(const Candidate& candidate);

// One entry of a search's history, in the order of the log: candidates that were proposed together, or one that ended.
struct SearchStep {
  std::vector<int64_t> proposed;  // empty: `finished` ended
  int64_t finished = -1;
  bool operator==(const SearchStep&) const = default;
};

// Counts of one stage.
struct StageState {
  int64_t proposed = 0;
  int64_t finished = 0;
  int64_t samples = 0;   // evaluated for its candidates that have one result at least
  PhaseTimings timings;  // of its candidates' results
  int64_t generations = 0;
  int64_t first_generation = 0;
  absl::Time start_time;          // when its first candidates were proposed
  absl::Duration paused_before;   // how long the job had been paused until then
  std::optional<int64_t> winner;  // the best of the stages before, by number: its "winner"
  // As logged with its first candidates; 0 in a log that does not say.
  int population = 0;
  int slots = 0;
  bool operator==(const StageState&) const = default;
};

// A value; pure: no clock, no randomness. Not thread-safe.
class JobState {
 public:
  JobState(std::string id, JobSpec spec);

  // Takes in event number `seq`. DataLoss, naming job and seq, for an event that does not fit: a gap in the numbers, an
  // unknown candidate, an attempt out of order, a second terminal event, a phase that goes back, anything after the job's
  // end but what reopens it and, if it failed, other settings. The state is unchanged then.
  absl::Status Apply(int64_t seq, JobEvent event);

  const std::string& id() const { return id_; }
  // As it is now: as submitted, with the settings of later updates.
  const JobSpec& spec() const { return *spec_; }
  std::shared_ptr<const JobSpec> submitted_spec() const { return submitted_spec_; }
  // For the assignments of this job: as submitted, so that an update does not make workers load it again, and once the job
  // is prepared with what its models were then (JobFacts::contents), so that no attempt merges others. Immutable; another
  // object only where it differs.
  std::shared_ptr<const JobSpec> assigned_spec() const { return assigned_spec_; }
  int64_t seq() const { return seq_; }  // of the last event, 0 before the first
  JobPhase phase() const { return phase_; }
  const std::string& message() const { return message_; }
  bool over() const { return seq_ > 0 && IsTerminal(phase_); }
  // Of a job that is over: the phase that it was in before.
  JobPhase ended_in() const { return ended_in_; }
  // What a failed job that is resumed tries again (ActionTaken::reopens), by number: its preparation, unless that succeeded;
  // those that the job's end cancelled; sources, average and search candidates that failed for reasons outside of them,
  // which is any class of their last attempt but kInfeasible. Of the search that is only since the newest generation of the
  // current stage in which any candidate succeeded (in a race: of the newest generation): earlier failures are what the
  // optimizer has learnt from. Finished ones stay.
  std::vector<int64_t> ToRetry() const;
  // Event of the last resumption from a failure, 0 if there was none: a snapshot of the optimizer from before does not know
  // what is tried again.
  int64_t resumed_seq() const { return resumed_seq_; }
  absl::Time create_time() const { return create_time_; }  // of the first event
  bool paused() const { return paused_; }
  // How long the job has been paused, until `now`.
  absl::Duration paused_time(absl::Time now) const;

  // Index = number. kSearch candidates that are over are without their recipe, which takes more memory than all the rest of
  // them (RecipeOf, Whole).
  const std::vector<Candidate>& candidates() const { return candidates_; }
  // nullptr if there is none; as in candidates().
  const Candidate* Find(int64_t number) const;
  // Of a candidate that there is.
  Recipe RecipeOf(int64_t number) const {
    return recipes_.Has(number) ? recipes_.Get(number) : candidates_[static_cast<size_t>(number)].recipe;
  }
  // The candidate with its recipe.
  Candidate Whole(int64_t number) const {
    Candidate candidate = candidates_[static_cast<size_t>(number)];
    if (recipes_.Has(number)) candidate.recipe = recipes_.Get(number);
    return candidate;
  }
  // Numbers, to be dispatched in this order: a candidate that came back is older than those behind it and goes first.
  const std::set<int64_t>& queued() const { return queued_; }
  const std::set<int64_t>& running() const { return running_; }
  // Those that have been scored on their blocks and wait for their race to go on; their state is kQueued.
  const std::set<int64_t>& waiting() const { return waiting_; }
  bool idle() const { return queued_.empty() && running_.empty() && waiting_.empty(); }
  // Whether what the attempt was to score has been scored: a record of it would be of an earlier block of its candidate's
  // race.
  bool IsPast(const Candidate& candidate, const Attempt& attempt) const;
  // Numbers of all that are not finished.
  std::set<int64_t> unfinished() const;
  // When the candidate was proposed or last came back.
  absl::Time queued_since(int64_t number) const { return queued_since_[number]; }
  // Numbers of the kSearch candidates by generation, in order of proposal.
  const std::vector<std::vector<int64_t>>& generations() const { return generations_; }
  // Of the kSearch candidates.
  const std::vector<SearchStep>& search_steps() const { return steps_; }
  // The stages that have begun; none before the first proposal.
  const std::vector<StageState>& stages() const { return stages_; }
  int64_t search_proposed() const { return search_proposed_; }
  int64_t search_finished() const { return search_finished_; }
  int64_t search_failed() const { return search_failed_; }
  // The same since the job was last resumed from a failure.
  int64_t recently_finished() const { return search_finished_ - finished_before_; }
  int64_t recently_failed() const { return search_failed_ - failed_before_; }
  const std::optional<JobFacts>& facts() const { return facts_; }
  // Of the candidates whose results say it, in jobs that keep it (candidate_samples.h).
  const KnownSamples& known_samples() const { return known_samples_; }
  // Under which name the scores of a benchmark are known (SharedName, of every benchmark once).
  const std::string& shared_name(const std::string& benchmark) const;
  // The kFinalist, if one succeeded, else the kSearch candidate that ranks first (ranking.h); ties: the lowest number. Never
  // one that a race stopped.
  std::optional<int64_t> best() const { return best_; }

  // Without what only the driver knows: dimension, search_total, and the population where the log does not say it.
  JobSummary Summary() const;

  friend bool operator==(const JobState& a, const JobState& b);

 private:
  // Check* do not change the state; the matching Take* follows when they are OK.
  absl::Status Check(const CandidatesProposed& e) const;
  absl::Status Check(const AttemptStarted& e) const;
  absl::Status Check(const AttemptEnded& e) const;
  absl::Status Check(const CandidateFinished& e) const;
  absl::Status Check(const PhaseStarted& e) const;
  absl::Status Check(const BlockScored& e) const;
  absl::Status Check(const RaceAdvanced& e) const;
  void Take(CandidatesProposed&& e, absl::Time time);
  void Take(const AttemptStarted& e, absl::Time time);
  void Take(const AttemptEnded& e, absl::Time time);
  void Take(const CandidateFinished& e, absl::Time time);
  void Take(const PhaseStarted& e, absl::Time time);
  void Take(const BlockScored& e, absl::Time time);
  void Take(const RaceAdvanced& e, absl::Time time);
  void Learn(const Candidate& candidate, const ScoresByBenchmark& scores);
  // Sample evaluations that a result of the candidate stands for.
  int64_t Evaluated(const Candidate& candidate, const ScoresByBenchmark& scores) const;
  // --- job_state_actions.cc
  absl::Status Check(const ActionTaken& e) const;
  void Take(const ActionTaken& e, absl::Time time);
  // A job that is over, or in a later phase, is in `phase` again.
  void Reopen(JobPhase phase, absl::Time time);
  // A candidate that is over is queued again; its attempts are forgiven.
  void Retry(int64_t number, absl::Time time);

  std::string id_;
  std::shared_ptr<const JobSpec> submitted_spec_;
  std::shared_ptr<const JobSpec> assigned_spec_;
  std::shared_ptr<const JobSpec> spec_;
  int64_t seq_ = 0;
  JobPhase phase_ = JobPhase::kPreparing;
  JobPhase ended_in_ = JobPhase::kPreparing;
  int64_t resumed_seq_ = 0;
  std::string message_;
  absl::Time create_time_;
  absl::Time end_time_ = absl::InfiniteFuture();
  bool paused_ = false;
  absl::Time paused_since_ = absl::InfinitePast();
  absl::Duration paused_time_;  // of the pauses that ended
  std::vector<Candidate> candidates_;
  std::vector<absl::Time> queued_since_;
  std::set<int64_t> queued_;
  std::set<int64_t> running_;
  std::set<int64_t> waiting_;
  std::vector<std::vector<int64_t>> generations_;
  std::vector<SearchStep> steps_;
  std::vector<StageState> stages_;
  int64_t succeeded_ = 0, failed_ = 0, cancelled_ = 0;
  int64_t search_proposed_ = 0, search_finished_ = 0, search_failed_ = 0;
  int64_t finished_before_ = 0, failed_before_ = 0;  // of those, when the job was resumed
  std::optional<JobFacts> facts_;
  std::map<std::string, std::string> shared_names_;
  KnownSamples known_samples_;
  PackedRecipes recipes_;  // of kSearch candidates that are over
  std::optional<int64_t> best_;
  PhaseTimings timings_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_STATE_H_

// Decides what a job does next, from its state alone: prepare, baselines, search, held-out, end.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_DRIVER_H_
#define MERGANSER_COORDINATOR_JOB_JOB_DRIVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/job/job_state.h"
#include "coordinator/job/known_recipes.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/search_space/search_space.h"

namespace merganser {

// Phases:
//   preparing  candidate 0: a worker loads the job. If it fails, the job fails with its message; so it does if the search
//              space does not fit the models or the optimizer's options are wrong.
//   baselines  every model as it is, and the plain average, on the search's benchmarks. One that fails changes nothing.
//   search     stage after stage; each has its space, optimizer and budget, and the best recipe of the stages before.
//              Synchronous: one generation at a time is proposed and logged, evaluated, and told when all of it is finished.
//              Rolling: one generation's worth of candidates is in flight; what has finished is told, and as many are
//              proposed again. Failed ones are ranked last. A genome that cannot be decoded fails at once. Before each
//              proposal the budget is looked at: `candidates` is met exactly (the last generation is cut short),
//              `generations`, `samples`, `gpu_time`, `target` and `wall_time` (since the stage began; the first: since the
//              job's first event; pauses do not count) end it when reached.
//   finalists  (if the job asks for them) the best candidates and the optimizer's mean on the finalists' benchmark.
//   held_out   every model, the average, the best of each earlier stage and the winner on the held-out benchmarks.
// An update that allows more candidates brings a job back to its search from the later phases and from success; finalists
// are chosen anew then, and held-out candidates are those whose recipe is another than before.
//
// The search fails the job if not one candidate succeeded, or if more than half of at least kGiveUpAfter failed; the message
// quotes the most frequent reason. A failed job that is resumed (JobState::ToRetry) is in the phase again in which it
// failed; what is tried again is told to the optimizer as if it had taken so long, and the half is of what ends from then
// on.
//
// The optimizer is rebuilt from the state: the log's proposals are asked for again, each after what had finished before it
// was told, so a replay makes the same calls. The log's genomes are authoritative: the optimizer adopts them where its own
// differ (another CPU type may round differently).
//
// A candidate with the recipe and samples of one that has succeeded is not evaluated: it ends at once with its twin's
// result. Where candidates have different samples (KeepsScores), what is known of an equal recipe is shared sample by
// sample, and a candidate of which everything is known ends at once. With JobSpec::samples.racing each generation is a race
// (race.h).
//
// Keeps a pointer to the state, which outlives it. Not thread-safe.
class JobDriver {
 public:
  static constexpr int64_t kGiveUpAfter = 20;  // finished search candidates

  explicit JobDriver(const JobState* state) : state_(*state), known_(state) {}

  // InvalidArgument for what can be told of the optimizers' options before a worker has loaded the models.
  static absl::Status Check(const JobSpec& spec);

  // Whether `budget` lets the stage, which has begun, propose more.
  static bool BudgetAllowsMore(const JobState& state, int stage, const Budget& budget, absl::Time now);

  // The events to store now, all in one append; empty when the job waits for candidates, is paused or over. They must be
  // stored and applied to the state before the next call (the optimizer has been asked for them). `slots`: candidates that
  // the workers which fit the job evaluate at once; looked at when a stage begins (stage_population.h).
  std::vector<EventBody> Next(absl::Time now, int slots = 0);

  // Equal for twins, hardly ever for others.
  uint64_t RecipeHash(int64_t candidate) { return known_.HashOf(candidate); }

  // What the optimizer has learnt, as versioned text, so that a restart need not ask and tell it the whole search again; ""
  // while there is none. It shortens a restart and does nothing else: without it the log gives the same.
  std::string SaveState() const;
  // Takes up what SaveState said at an earlier event of the same log. To be called before Next. DataLoss: it is damaged, of
  // another version or of another log; use another driver then.
  absl::Status RestoreState(absl::string_view saved);
  // Proposals for which the optimizer was asked again.
  int64_t reasked() const { return reasked_; }

  // The state's summary, with dimension, population and the number of candidates that the budget allows.
  JobSummary Summary() const;

 private:
  // Whether the newest candidate is of `kind`.
  bool Proposed(CandidateKind kind) const;
  // The phase (unless it has begun) and its candidates.
  std::vector<EventBody> Enter(JobPhase phase, CandidatesProposed candidates) const;
  std::vector<EventBody> Prepare() const;
  std::vector<EventBody> AfterPrepare();
  std::vector<EventBody> Baselines() const;
  std::vector<EventBody> Search(absl::Time now, int slots);
  std::vector<EventBody> Propose(int64_t count);
  // --- job_driver_known.cc
  // Ends queued candidates whose twin has succeeded.
  std::vector<EventBody> FinishTwins();
  // The end of a candidate as its twin `known`, which has succeeded.
  CandidateFinished FinishAsTwin(int64_t number, int64_t known) const;
  // Ends queued candidates of which everything is known, or their block in a race.
  std::vector<EventBody> FinishKnown() const;
  std::vector<EventBody> AfterSearch();
  std::vector<EventBody> Finalists();
  std::vector<EventBody> AfterFinalists() const;
  std::vector<EventBody> HeldOut() const;
  // Space and optimizer of a stage. `winner`: the best of the stages before. `population`: as logged; 0: the optimizer's
  // own.
  absl::Status BeginStage(int stage, std::optional<int64_t> winner, int population = 0);
  absl::Status MakeOptimizer(int stage, int population);
  // Before the stage's first proposal: its population for the slots that there are.
  absl::Status ChoosePopulation(int slots);
  // Asks for and tells what the log has and the optimizer has not seen.
  absl::Status CatchUp();
  absl::Status Reask(const std::vector<int64_t>& proposed);
  // Tells what has finished since the last proposal.
  absl::Status TellFinished();
  bool BudgetReached(absl::Time now) const;
  const StageState* CurrentStage() const;
  // Over the logged genomes of the step that ends with the stage's proposal `asked`: tells logs apart.
  uint64_t GenomesHash(int stage, int64_t asked) const;
  // "space is full (17 of 20)", over failed search candidates.
  std::string MostFrequentFailure() const;

  const JobState& state_;
  KnownRecipes known_;
  int stage_ = -1;  // that space_ and optimizer_ are of
  SearchStage in_;  // its spec
  std::optional<SearchSpace> space_;
  std::unique_ptr<Optimizer> optimizer_;
  bool several_ = false;  // the optimizer learns from each objective
  int64_t asked_ = 0;     // proposals of the stage
  int64_t reasked_ = 0;
  size_t seen_ = 0;                // steps of the state
  std::vector<int64_t> finished_;  // of the stage, not told yet
  int dimension_ = 0;
  int population_ = 0;
  int slots_ = 0;  // that population_ was chosen for
  bool collapse_logged_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_DRIVER_H_

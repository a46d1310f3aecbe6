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
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

// Phases:
//   preparing  candidate 0: a worker loads the job. If it fails, the job fails with its message; so it does if the search
//              space does not fit the models or the optimizer's options are wrong.
//   baselines  every model as it is, and the plain average, on the search's benchmarks. One that fails changes nothing.
//   search     one generation at a time: proposed and logged, evaluated, told in order of proposal when all of it is
//              finished, failed ones ranked last. A genome that cannot be decoded fails at once. Between generations the
//              budget is looked at: `candidates` is met exactly (the last generation is cut short), `generations`, `target`
//              and `wall_time` (since the job's first event, on the wall clock) end the search when reached.
//   held_out   every model, the average and the winner on the held-out benchmarks.
// The search fails the job if not one candidate succeeded, or if more than half of at least kGiveUpAfter failed; the message
// quotes the most frequent reason.
//
// The optimizer is rebuilt from the state: generations in the log are asked for again and told again. The log's genomes are
// authoritative: the optimizer adopts them where its own differ (another CPU type may round differently).
//
// Keeps a pointer to the state, which outlives it. Not thread-safe.
class JobDriver {
 public:
  static constexpr int64_t kGiveUpAfter = 20;  // finished search candidates

  explicit JobDriver(const JobState* state) : state_(*state) {}

  // The events to store now, all in one append; empty when the job waits for candidates or is over. They must be stored
  // and applied to the state before the next call (the optimizer has been asked for them).
  std::vector<EventBody> Next(absl::Time now);

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
  std::vector<EventBody> Search(absl::Time now);
  std::vector<EventBody> Propose();
  std::vector<EventBody> AfterSearch() const;
  std::vector<EventBody> HeldOut() const;
  // Decoder and optimizer from the facts, once.
  absl::Status MakeSearch();
  // Asks for and tells what the log has and the optimizer has not seen.
  absl::Status CatchUp();
  absl::Status Reask(const std::vector<int64_t>& generation);
  bool BudgetReached(absl::Time now) const;
  // "space is full (17 of 20)", over failed search candidates.
  std::string MostFrequentFailure() const;

  const JobState& state_;
  std::optional<ParameterSpaceDecoder> decoder_;
  std::unique_ptr<Optimizer> optimizer_;
  size_t asked_ = 0;  // generations
  size_t told_ = 0;   // generations
  int dimension_ = 0;
  int population_ = 0;
  bool collapse_logged_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_DRIVER_H_

// The events of a job's log. A job's state is the replay of its events (coordinator/job/job_state.h), so an event holds all
// that a replay needs and nothing that can be computed from earlier events. common/codec turns them into bytes.
#ifndef MERGANSER_COMMON_DOMAIN_EVENTS_H_
#define MERGANSER_COMMON_DOMAIN_EVENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/domain/candidate.h"

namespace merganser {

// New candidates, logged before any of them is dispatched. Only number, kind, label, stage, generation, proposal, genome,
// recipe and benchmarks are stored; they start queued.
struct CandidatesProposed {
  std::vector<Candidate> candidates;
  // Where they are the first of a stage: what the whole stage takes as its generation, and the evaluation slots for which it
  // was chosen. 0: they are not the first, or the log is older than these numbers.
  int population = 0;
  int slots = 0;
  bool operator==(const CandidatesProposed&) const = default;
};

// An attempt got a lease. Logged before the worker is told. The candidate is queued, or (speculative) has one live attempt.
struct AttemptStarted {
  int64_t candidate = 0;
  int attempt = 0;
  std::string token;
  std::string worker;
  bool speculative = false;
  bool operator==(const AttemptStarted&) const = default;
};

// An attempt ended without a result. The candidate is queued again unless it has another live attempt, or a
// CandidateFinished follows in the same append.
struct AttemptEnded {
  int64_t candidate = 0;
  int attempt = 0;
  FailureClass failure = FailureClass::kWorkerLost;
  std::string message;
  bool operator==(const AttemptEnded&) const = default;
};

// An attempt scored its candidate's blocks, which are not all yet; the candidate waits for its race to go on.
struct BlockScored {
  int64_t candidate = 0;
  int attempt = 0;           // whose record has them; 0: they were known of an equal recipe
  ScoresByBenchmark scores;  // of the samples that the attempt evaluated
  std::string record_key;
  std::string record_sha256;
  PhaseTimings timings;
  bool operator==(const BlockScored&) const = default;
};

// These candidates, which waited, are now to be scored on `blocks` blocks. What else the race decided is in
// CandidateFinished events of the same append.
struct RaceAdvanced {
  std::vector<int64_t> candidates;
  int64_t blocks = 0;
  bool operator==(const RaceAdvanced&) const = default;
};

// The one terminal event of a candidate.
struct CandidateFinished {
  int64_t candidate = 0;
  CandidateState state = CandidateState::kSucceeded;
  int attempt = 0;  // whose record counts; 0 if none
  std::vector<double> fitness;
  MetricTable metrics;
  std::string record_key;
  std::string record_sha256;
  std::string message;
  PhaseTimings timings;
  std::optional<JobFacts> facts;  // of the prepare candidate
  // Of the samples that the attempt evaluated, where the job keeps them (coordinator/job/candidate_samples.h).
  ScoresByBenchmark scores = {};
  std::optional<RaceStop> stop = std::nullopt;
  bool operator==(const CandidateFinished&) const = default;
};

// The job enters a phase; the last event of a job is one with a terminal phase (unless it is reopened by a larger budget, or
// resumed after a failure; the settings of one that failed may change before that).
struct PhaseStarted {
  JobPhase phase = JobPhase::kPreparing;
  std::string message;
  bool operator==(const PhaseStarted&) const = default;
};

// What somebody did to the job, or to a worker while the job ran.
enum class ActionKind {
  kSubmitted,
  kPaused,   // nothing new is dispatched
  kResumed,  // from a pause, or (reopens) from the job's failure
  kUpdated,  // with the job's settings from now on
  kCancelled,
  kWorkerDrained,
  kWorkerQuarantined,
  kWorkerReleased,  // from quarantine
};
absl::string_view ToString(ActionKind kind);  // "submitted", "worker_drained"

// What may change while a job runs.
struct JobSettings {
  std::vector<Budget> budgets;  // of each stage
  int max_attempts = 3;
  absl::Duration attempt_timeout = absl::InfiniteDuration();
  int priority = 0;
  double share = 1;
  bool operator==(const JobSettings&) const = default;
};

struct ActionTaken {
  ActionKind kind = ActionKind::kSubmitted;
  std::string by;       // "admin/alice"; "coordinator" for what it did itself; "" where nobody is known by name
  std::string message;  // what changed, or which worker and why
  std::optional<JobSettings> settings;  // kUpdated
  // kUpdated: the budget is larger, so the search goes on from a later phase or the job's success. kResumed: the job had
  // failed; it is in the phase again in which it failed, and what failed for reasons outside of it is tried again
  // (job_state.h).
  bool reopens = false;
  std::string worker;                         // kWorker...: its id
  absl::Time until = absl::InfiniteFuture();  // kWorkerQuarantined: when it ends; infinite: once it is released
  bool operator==(const ActionTaken&) const = default;
};

struct JobEvent {
  absl::Time time;
  std::variant<CandidatesProposed, AttemptStarted, AttemptEnded, CandidateFinished, PhaseStarted, ActionTaken, BlockScored,
               RaceAdvanced>
      body;
  bool operator==(const JobEvent&) const = default;
};

// What the worker's record says, as far as the job loop needs it.
struct RecordSummary {
  std::string job_id;
  int64_t candidate = 0;
  int attempt = 0;
  std::string token;
  std::string worker;
  MetricTable metrics;
  PhaseTimings timings;
  std::optional<JobFacts> facts;
  int64_t generated_tokens = 0;
  ScoresByBenchmark scores = {};  // of its benchmarks, where they are means over samples
};

// Bytes of the store <-> values. Implemented over protobuf in common/codec; the job loop knows only this.
// Decode*: DataLoss if the bytes are damaged.
class JobCodec {
 public:
  virtual ~JobCodec() = default;
  virtual std::string EncodeEvent(const JobEvent& event) const = 0;
  virtual absl::StatusOr<JobEvent> DecodeEvent(absl::string_view bytes) const = 0;
  virtual std::string EncodeSpec(const JobSpec& spec) const = 0;
  virtual absl::StatusOr<JobSpec> DecodeSpec(absl::string_view bytes) const = 0;
  virtual absl::StatusOr<RecordSummary> DecodeRecord(absl::string_view bytes) const = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_EVENTS_H_

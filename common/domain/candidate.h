// Candidates, attempts and jobs as everyone sees them: the job loop that owns them, the services that show them, the
// command line that prints them.
#ifndef MERGANSER_COMMON_DOMAIN_CANDIDATE_H_
#define MERGANSER_COMMON_DOMAIN_CANDIDATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "common/domain/sample_scores.h"

namespace merganser {

// What a candidate is for. All kinds are dispatched, leased, retried and recorded alike.
enum class CandidateKind {
  kPrepare,   // number 0: a worker loads the job and reports JobFacts; no fitness
  kSource,    // one source as it is: a baseline
  kAverage,   // the plain average of the sources: a baseline
  kSearch,    // proposed by the optimizer
  kFinalist,  // one of the best, scored again on the finalists' benchmark, which gives its one fitness number
  kHeldOut,   // a source, the average or the winner on the held-out benchmarks
};

enum class CandidateState { kQueued, kRunning, kSucceeded, kFailed, kCancelled };
inline bool IsTerminal(CandidateState s) { return s != CandidateState::kQueued && s != CandidateState::kRunning; }

// Why an attempt ended without a result, by what follows from it.
enum class FailureClass {
  kWorkerLost,   // lease ran out or the worker vanished: another attempt, counts
  kReleased,     // drained or declined: another attempt, does not count
  kTransient,    // an error that may not come again: another attempt, counts
  kInfeasible,   // bad recipe, NaN weights: the same anywhere, no further attempt
  kCrashed,      // the evaluator's process died: another attempt, counts; a second worker's makes the candidate poison
  kTimedOut,     // ran beyond its time: another attempt, counts
  kOutOfMemory,  // another attempt, where there is more memory if such a worker is there; counts
  kUnavailable,  // checkpoints or data could not be fetched: another attempt after a while; the first five are free
};

// {benchmark: {metric: value}}
using MetricTable = std::map<std::string, std::map<std::string, double>>;

struct Attempt {
  int number = 0;      // 1, 2, ... within the candidate
  std::string token;   // 32 hexadecimal digits; who holds it may report
  std::string worker;  // worker id
  absl::Time start_time;
  bool ended = false;
  std::optional<FailureClass> failure;  // set when it ended without a result
  std::string message;                  // of the failure
  bool speculative = false;             // beside one that takes long; does not count
  int64_t blocks = 0;                   // of a race: Candidate::blocks when it began
  bool scored = false;                  // ended with the result of a block
  bool forgiven = false;                // its job failed and was resumed since: does not count
  bool operator==(const Attempt&) const = default;
};

// Why a race stopped a candidate.
struct RaceStop {
  int64_t reference = 0;  // the candidate it was compared to
  int64_t samples = 0;    // each was scored on
  int64_t of = 0;         // samples that a candidate which goes on is scored on
  int64_t worse = 0;      // samples on which it was worse than the reference
  int64_t better = 0;
  double difference = 0;  // of the weighted fitness on those samples, its own less the reference's; below 0
  bool operator==(const RaceStop&) const = default;
};

struct Candidate {
  int64_t number = 0;  // 0, 1, 2, ... within the job
  CandidateKind kind = CandidateKind::kSearch;
  std::string label;           // "base", "average", "winner"; kFinalist: "candidate 12", "mean"; "" for kSearch
  int stage = 0;               // kSearch: of the job's searches
  int64_t generation = -1;     // kSearch: 0, 1, ...
  int64_t proposal = -1;       // kSearch: the optimizer's proposal id
  std::vector<double> genome;  // kSearch: in [0,1]^n
  Recipe recipe;               // empty for kPrepare
  // Names of the benchmarks to run, "name@7" for draw 7 of its samples, "name[0,3-5]" for these ones.
  std::vector<std::string> benchmarks;
  int64_t blocks = 0;            // of a race: it is to be scored on so many blocks of its samples; 0: no race
  std::optional<RaceStop> stop;  // kSucceeded: a race stopped it, and its fitness is of the samples until then
  CandidateState state = CandidateState::kQueued;
  std::vector<Attempt> attempts;
  std::vector<double> fitness;  // one number per objective, larger is better; kSucceeded and not kHeldOut or kPrepare
  MetricTable metrics;          // kSucceeded
  std::string record_key;       // of the result record in the store
  std::string record_sha256;
  std::string message;  // why it failed
  PhaseTimings timings;
  absl::Time create_time;
  absl::Time end_time = absl::InfiniteFuture();
  bool operator==(const Candidate&) const = default;
};

// kDamaged is in no log: the job is set aside because its log cannot be replayed.
enum class JobPhase { kPreparing, kBaselines, kSearch, kFinalists, kHeldOut, kSucceeded, kFailed, kCancelled, kDamaged };
inline bool IsTerminal(JobPhase p) { return p >= JobPhase::kSucceeded; }

// A job at a glance.
struct JobSummary {
  std::string id;  // "job-7"
  JobSpec spec;
  JobPhase phase = JobPhase::kPreparing;
  std::string message;  // why it failed, was cancelled or is set aside
  bool paused = false;  // nothing new is dispatched
  std::string waiting;  // why its queued candidates wait, for people; "" if none does or nobody knows (a job of a store)
  std::string unschedulable;  // "memory", "device", "labels" or "hub_cache": what no known worker has; not stored or sent
  std::optional<JobFacts> facts;
  int dimension = 0;  // of the genome
  int population = 0;
  int slots = 0;  // evaluation slots that fitted the job when its newest stage began; 0: none has, or not known
  int64_t generation = 0;
  // Candidates by state, all kinds.
  int64_t queued = 0, running = 0, succeeded = 0, failed = 0, cancelled = 0;
  int64_t search_finished = 0;  // kSearch candidates that are terminal
  int64_t search_total = 0;     // by the budget; 0 where it names no count
  std::optional<int64_t> best_candidate;
  std::vector<double> best_fitness;
  absl::Time create_time;
  absl::Time end_time = absl::InfiniteFuture();
  int64_t seq = 0;       // of the last event
  PhaseTimings timings;  // summed over finished candidates, seconds
};

// Lower-case words, as printed and as stored: "queued", "held_out", "worker_lost".
absl::string_view ToString(CandidateKind kind);
absl::string_view ToString(CandidateState state);
absl::string_view ToString(FailureClass failure);
absl::string_view ToString(JobPhase phase);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_CANDIDATE_H_

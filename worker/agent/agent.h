// The main part of a worker: takes assignments, runs the evaluator, writes each result to the store and then reports it.
// Knows neither gRPC nor torch.
#ifndef MERGANSER_WORKER_AGENT_AGENT_H_
#define MERGANSER_WORKER_AGENT_AGENT_H_

#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/domain/dispatch.h"
#include "common/store/results_store.h"
#include "worker/agent/agent_observer.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/reporter.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

struct AgentOptions {
  WorkerInfo info;           // slots: 1, because an evaluator has one caller at a time
  std::string spool_dir;     // where results wait while the store is away; "" keeps them in memory
  int queue_max = 8;         // assignments held unstarted; more are given back
  ReporterOptions reporter;  // its spool_dir is replaced by the one above
};

// Two threads: one evaluates, one records and reports (reporter.h), so the next candidate evaluates while the previous one
// is recorded. Nothing an evaluator throws escapes: it is a transient failure of its attempt.
//
// Threading: all methods, any thread; those of WorkerLink's meaning never block.
class Agent {
 public:
  // All pointers outlive the agent; observer may be null. Results that an earlier process left in the spool are sent.
  Agent(CandidateEvaluator* evaluator, RecordStore* store, const AgentOptions& options, CoordinatorLink* link,
        AgentObserver* observer = nullptr);
  // Stop().
  ~Agent();

  // An attempt that it holds already is ignored. While draining, or beyond queue_max, it is reported as released.
  void Assign(const Assignment& assignment);
  // Stops the attempt if it waits or runs, without a report; a result that is being recorded is still reported.
  void Cancel(const AttemptId& id);
  // Finishes what runs, reports queued attempts as released and takes nothing new. For good.
  void Drain();
  bool draining() const;

  // Every attempt that it holds, in order of job, candidate, attempt, for heartbeats: phase "queued", then the
  // evaluator's, then "record" until the report is answered.
  std::vector<RunningAttempt> running() const;
  // Waits until it holds no attempt; false after `timeout`.
  bool WaitIdle(absl::Duration timeout);
  // Since it last held an attempt (or was made); 0 while it holds one.
  absl::Duration idle_time() const;

  // Asks the evaluator to stop and waits for it; unstored results go to the spool. Nothing more is reported. Idempotent.
  void Stop();

  const WorkerInfo& info() const { return options_.info; }

 private:
  struct Held {
    std::string token;
    std::string phase;
    std::stop_source stop;
  };

  void EvaluateLoop();
  std::optional<Assignment> Next();
  void EvaluateOne(const Assignment& assignment);
  // The record's bytes. Error: the evaluator's, or ResourceExhausted for a record beyond limits::kRecordBytesMax.
  absl::StatusOr<std::string> MakeRecord(const Assignment& assignment, std::stop_token stop);
  // Tells the evaluator which candidate waits behind the one that it evaluates, if they are of one job.
  void TellNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetPhase(const AttemptId& id, absl::string_view phase);
  void Release(const Assignment& assignment, absl::string_view why);
  void Forget(const AttemptId& id);

  // Constant after construction.
  CandidateEvaluator* const evaluator_;
  AgentObserver* const observer_;
  const AgentOptions options_;

  mutable absl::Mutex mu_;
  std::deque<Assignment> queue_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<AttemptId, Held> held_ ABSL_GUARDED_BY(mu_);
  std::optional<std::string> evaluated_job_ ABSL_GUARDED_BY(mu_);  // while an evaluation is in its phase "evaluate"
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration idle_since_ ABSL_GUARDED_BY(mu_);  // monotonic

  Reporter reporter_;
  std::thread thread_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_AGENT_H_

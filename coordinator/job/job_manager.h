// The job loop: owns every job's state, drives optimizers, leases candidates to workers. README.md "How it works",
// docs/architecture.md "Life of a candidate".
//
// One thread owns all state; a second only reads records of what is reported, ahead of it. Public methods post a command to
// it and wait for the answer; a command becomes events, which are stored (under this leader's epoch) before they are applied
// and before anything is acted on or answered. So no lock is held over the store, the order is total, and a restart is a
// replay.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_MANAGER_H_
#define MERGANSER_COORDINATOR_JOB_JOB_MANAGER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/domain/candidate.h"
#include "common/domain/dispatch.h"
#include "common/domain/events.h"
#include "common/store/results_store.h"
#include "coordinator/job/job_update.h"

namespace merganser {

// Sees what happens, for metrics. Called on the loop's thread; must not block.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  virtual void OnEvent(const std::string& job_id, const JobEvent& event) = 0;
  virtual void OnReport(Disposition disposition) = 0;
  virtual void OnStoreCommit(absl::string_view operation, absl::Duration took, const absl::Status& status) = 0;
  virtual void OnDispatched(absl::Duration waited) = 0;
  // The store had gone back to an older copy of itself; `events` of the job's log were stored again.
  virtual void OnStoreRegression(const std::string& /*job_id*/, int64_t /*events*/) {}
  // An attempt was reported after it had ended, or after its candidate had.
  virtual void OnLateResult(Disposition /*disposition*/) {}
  // A generation was proposed: what finished was told to the optimizer, and it was asked.
  virtual void OnOptimizerStep(absl::Duration /*took*/) {}
  // A worker's session ended: "goodbye", "lost" or "replaced".
  virtual void OnWorkerDisconnected(absl::string_view /*reason*/) {}
  // A second attempt beside a slow one ended: "won" (its result counted), "lost" (the other's did) or "failed".
  virtual void OnSpeculation(absl::string_view /*outcome*/) {}
};

struct JobManagerOptions {
  std::string holder = "coordinator";               // named to others that want to lead
  absl::Duration leader_lease = absl::Seconds(10);  // renewed every third of it
  absl::Duration lease = absl::Seconds(30);         // of an attempt; extended by each heartbeat
  absl::Duration heartbeat_interval = absl::Seconds(5);
  absl::Duration reattach_window = absl::Seconds(15);   // after a start: workers may re-present running attempts
  int64_t snapshot_every = 1000;                        // proposals between snapshots of what the optimizer has learnt
  int prefetch = 1;                                     // assignments beyond a worker's slots
  absl::Duration speculate_after = absl::Seconds(60);   // an attempt is no straggler before
  absl::Duration attempt_time_min = absl::Minutes(10);  // nor over its time, where the job does not say how long it may take
  absl::Duration stop_grace = absl::Seconds(60);        // for a worker to stop an attempt, until it counts as stuck
};

// Threading: all methods, any thread. Errors of every method: Unavailable before Start returns, after Stop, and while the
// store is away.
class JobManager {
 public:
  // `store`, `codec`, `clock` and `observer` (may be null) outlive the manager.
  static std::unique_ptr<JobManager> Create(ResultsStore* store, const JobCodec* codec, Clock* clock, JobObserver* observer,
                                            const JobManagerOptions& options);
  virtual ~JobManager() = default;

  // Becomes leader, replays every job, adopts records that were written but not reported. A job whose log cannot be replayed
  // is set aside: kDamaged from then on, as is one whose log is found to be damaged later. Unavailable while another leads
  // (retry), DataLoss if the store cannot say which jobs there are.
  virtual absl::Status Start() = 0;
  // Ends the loop: GoAway to all workers, the leader lease released. Idempotent.
  virtual void Stop() = 0;
  // True from Start until Stop, or until another coordinator leads.
  virtual bool leading() const = 0;
  virtual int64_t epoch() const = 0;

  // `by`, here and below: who asks, for the log: "submitter/alice"; "" where nobody is known by name, which logs no action.
  // The same non-empty request_id returns the job it made before. InvalidArgument as Validate(JobSpec). FailedPrecondition,
  // here and of all that changes a job, with the way out: it, or the newest of its name, is kDamaged.
  virtual absl::StatusOr<JobSummary> CreateJob(const std::string& request_id, const JobSpec& spec,
                                               const std::string& by) = 0;
  // `job` is an id or a name (the newest job of that name). NotFound.
  virtual absl::StatusOr<JobSummary> GetJob(const std::string& job) = 0;
  virtual absl::StatusOr<std::vector<JobSummary>> ListJobs() = 0;
  // Queued and running candidates end cancelled. OK (with the job as it is) if the job is over.
  virtual absl::StatusOr<JobSummary> CancelJob(const std::string& job, const std::string& by) = 0;
  // Nothing new is proposed or dispatched until it is resumed; what workers hold goes on to its end. OK if it is so already.
  // FailedPrecondition: the job is over.
  virtual absl::StatusOr<JobSummary> PauseJob(const std::string& job, const std::string& by) = 0;
  // Ends a pause; OK if there is none. A job that failed is taken up again in the phase in which it failed: what failed for
  // reasons outside of the candidates is tried again (JobState::ToRetry), what has finished stays. FailedPrecondition: the
  // job succeeded or was cancelled, or failed and has nothing to be tried again.
  // A job that is kDamaged has its log read anew first, and goes on if it was mended.
  virtual absl::StatusOr<JobSummary> ResumeJob(const std::string& job, const std::string& by) = 0;
  // A larger budget brings a job back to its search from the later phases, and from success. OK without an event if nothing
  // changes. One that failed goes on, with the settings that it has then, once it is resumed. InvalidArgument as
  // UpdatedSpec, and for a budget below what is proposed; FailedPrecondition: the stage is over, the job was cancelled, or
  // has succeeded and the update does not let it go on.
  virtual absl::StatusOr<JobSummary> UpdateJob(const std::string& job, const JobUpdate& update, const std::string& by) = 0;
  // After that update: which bound of the budget that it did not change ends the search first (BindingBudget); "": none.
  virtual absl::StatusOr<std::string> WhatBinds(const std::string& /*job*/, const JobUpdate& /*update*/) { return ""; }
  virtual absl::StatusOr<Candidate> GetCandidate(const std::string& job, int64_t number) = 0;
  // Why it is not dispatched, for people; "" unless it is queued.
  virtual absl::StatusOr<std::string> WhyCandidateWaits(const std::string& /*job*/, int64_t /*number*/) { return ""; }
  // In order of number.
  virtual absl::StatusOr<std::vector<Candidate>> ListCandidates(const std::string& job) = 0;
  // With the candidates, of which kSearch ones that are over lack their recipe, and what gives a copy of one with it.
  using CandidatesLook =
      std::function<absl::Status(const std::vector<Candidate>&, const std::function<Candidate(int64_t number)>& whole)>;
  // The same without a copy, which for a job of many thousands takes a second: calls `look` with them, on the loop's thread,
  // and gives its answer. `look` is short, calls nothing of the manager, and owns what it touches: it may come after this
  // said Unavailable.
  virtual absl::Status LookAtCandidates(const std::string& job, CandidatesLook look) = 0;

  struct EventBatch {
    std::vector<std::pair<int64_t, JobEvent>> events;  // (seq, event), seq > after_seq
    JobSummary job;                                    // after them
  };
  // Events after `after_seq`; waits up to `timeout` for the first one. Empty on timeout, and at once when the job is over
  // and has no more; of one that is kDamaged, none from the damage on.
  virtual absl::StatusOr<EventBatch> WaitForEvents(const std::string& job, int64_t after_seq, absl::Duration timeout) = 0;

  // --- workers -------------------------------------------------------------------------------------------------------
  // A session opens. `running`: attempts it still holds after a reconnect; those that are not (or no longer) its own come
  // back in an Acknowledge. An older session of the same id is replaced.
  virtual absl::Status WorkerConnected(const WorkerInfo& info, const std::vector<RunningAttempt>& running,
                                       std::shared_ptr<WorkerLink> link) = 0;
  // Extends the leases of what the worker runs; what it should run but does not name is queued again after a grace.
  virtual void WorkerHeartbeat(const std::string& worker_id, const std::vector<RunningAttempt>& running, bool draining) = 0;
  // The session `link` ended. Leases run on: a worker that reconnects keeps its attempts. `gone`: the process said goodbye
  // or is known dead, so its attempts are released at once.
  virtual void WorkerDisconnected(const std::string& worker_id, const WorkerLink* link, bool gone) = 0;
  // Idempotent. The event is stored before this returns.
  virtual absl::StatusOr<Disposition> ReportAttempt(const AttemptReport& report) = 0;
  // The same without waiting: `done` is called once, with what ReportAttempt would have returned, here or on the loop's
  // thread, where it must not block. What comes while the store works is stored together.
  virtual void ReportAttemptThen(const AttemptReport& report, std::function<void(absl::StatusOr<Disposition>)> done) {
    done(ReportAttempt(report));
  }
  virtual absl::StatusOr<std::vector<WorkerStatus>> ListWorkers() = 0;
  // Here and below a worker is named by its id, or by its name where only one (of the connected, if any is) has it.
  // NotFound: no such worker; InvalidArgument: several, with their ids.
  virtual absl::Status DrainWorker(const std::string& worker, const std::string& by) = 0;
  // Gives it no work for `time` (infinite: until it is released); what it runs goes on.
  virtual absl::Status QuarantineWorker(const std::string& worker, absl::Duration time, const std::string& reason,
                                        const std::string& by) = 0;
  // Ends a quarantine; OK if there is none.
  virtual absl::Status ReleaseWorker(const std::string& worker, const std::string& by) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_MANAGER_H_

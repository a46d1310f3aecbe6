// What the job manager's thread runs: all jobs, leases and workers, single-threaded, so that tests can drive it step by
// step under a fake clock.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_LOOP_H_
#define MERGANSER_COORDINATOR_JOB_JOB_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/domain/events.h"
#include "common/store/results_store.h"
#include "coordinator/dispatch/attempt_times.h"
#include "coordinator/dispatch/dispatcher.h"
#include "coordinator/dispatch/fleet.h"
#include "coordinator/dispatch/lease_table.h"
#include "coordinator/dispatch/worker_health.h"
#include "coordinator/job/job_driver.h"
#include "coordinator/job/job_log.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/job/leadership.h"

namespace merganser {

// The methods are those of JobManager, which says what they mean; none waits for anything but the store. What follows from
// a call (the next generation, assignments, requeues) happens in Tick. Not thread-safe.
class JobLoop {
 public:
  // A worker has this long to name a new assignment in a heartbeat, or to report what it no longer names.
  static constexpr absl::Duration kListGrace = absl::Seconds(10);
  // Between looks into a store that did not say whether an expired attempt left a record.
  static constexpr absl::Duration kRecordRetry = absl::Seconds(1);
  // Between looks whether the store still has what it acknowledged, and how old what is looked for may be: a replica that
  // takes over lags behind by seconds, not minutes.
  static constexpr absl::Duration kMendInterval = absl::Seconds(5);
  static constexpr absl::Duration kMendAge = absl::Minutes(1);
  static constexpr absl::Duration kGoAwayRetry = absl::Seconds(1);
  // Between looks for attempts that take too long.
  static constexpr absl::Duration kOverdueInterval = absl::Seconds(1);
  // Without a bound of the job's own, an attempt may take so many times the longest one that succeeded.
  static constexpr int kOverdueFactor = 5;
  // A straggler takes so many times what three of four attempts take at most, when at most one in kStragglers of its
  // generation is unfinished.
  static constexpr int kStragglerFactor = 2;
  static constexpr int kStragglers = 10;
  // So long after its worker's connection broke, or after the start of a coordinator to which its worker has not come back, an
  // attempt counts as one, too, where nothing of its job waits in the queue.
  static constexpr absl::Duration kAwayGrace = absl::Seconds(5);
  // So long a candidate waits on a worker behind another one before a worker that is idle gets it.
  static constexpr absl::Duration kMoveAfter = absl::Seconds(1);
  // Before a candidate whose checkpoints could not be fetched is tried again; doubles with each try.
  static constexpr absl::Duration kUnavailableDelay = absl::Seconds(1);
  static constexpr absl::Duration kUnavailableDelayMax = absl::Seconds(60);

  // All outlive the loop; `observer` may be null.
  JobLoop(ResultsStore* store, const JobCodec* codec, Clock* clock, JobObserver* observer, const JobManagerOptions& options);

  absl::Status Start();
  void Stop();
  bool leading() const { return leadership_.held(); }
  int64_t epoch() const { return leadership_.epoch(); }

  absl::StatusOr<JobSummary> CreateJob(const std::string& request_id, const JobSpec& spec, const std::string& by = "");
  absl::StatusOr<JobSummary> GetJob(const std::string& job);
  absl::StatusOr<std::vector<JobSummary>> ListJobs();
  absl::StatusOr<JobSummary> CancelJob(const std::string& job, const std::string& by = "");
  absl::StatusOr<JobSummary> PauseJob(const std::string& job, const std::string& by = "");
  absl::StatusOr<JobSummary> ResumeJob(const std::string& job, const std::string& by = "");
  absl::StatusOr<JobSummary> UpdateJob(const std::string& job, const JobUpdate& update, const std::string& by = "");
  absl::StatusOr<std::string> WhatBinds(const std::string& job, const JobUpdate& update);
  absl::StatusOr<Candidate> GetCandidate(const std::string& job, int64_t number);
  absl::StatusOr<std::string> WhyCandidateWaits(const std::string& job, int64_t number);
  absl::StatusOr<std::vector<Candidate>> ListCandidates(const std::string& job);
  absl::Status LookAtCandidates(const std::string& job, const JobManager::CandidatesLook& look);
  // What is there now, perhaps nothing.
  absl::StatusOr<JobManager::EventBatch> EventsAfter(const std::string& job, int64_t after_seq);
  // Whether EventsAfter would have something to say: an event, an error, or that the job is over.
  bool HasEventsAfter(const std::string& job, int64_t after_seq);

  absl::Status WorkerConnected(const WorkerInfo& info, const std::vector<RunningAttempt>& running,
                               std::shared_ptr<WorkerLink> link);
  void WorkerHeartbeat(const std::string& worker_id, const std::vector<RunningAttempt>& running, bool draining);
  void WorkerDisconnected(const std::string& worker_id, const WorkerLink* link, bool gone);
  absl::StatusOr<Disposition> ReportAttempt(const AttemptReport& report);
  // Of each, in order; results of one job are read and stored together, with the attempts that take the places that they
  // leave. `records`: empty, or for each report the bytes at its record_key if they were read already; "" if not.
  std::vector<absl::StatusOr<Disposition>> ReportAttempts(const std::vector<AttemptReport>& reports,
                                                          std::vector<std::string> records = {});
  absl::StatusOr<std::vector<WorkerStatus>> ListWorkers();
  absl::Status DrainWorker(const std::string& worker_id, const std::string& by = "");
  absl::Status QuarantineWorker(const std::string& worker_id, absl::Duration time, const std::string& reason,
                                const std::string& by = "");
  absl::Status ReleaseWorker(const std::string& worker_id, const std::string& by = "");

  // Does what is due: renews the leader lease, repeats stalled writes, ends expired leases, advances jobs, dispatches.
  // Cheap when nothing is. Call after every batch of calls and about ten times a second.
  void Tick();

  // For tests of replay: the job's state and log; nullptr if there is no such job.
  const JobState* StateOf(const std::string& job_id);
  // For tests: whether an attempt of the candidate is leased.
  bool HasLease(const std::string& job_id, int64_t candidate) const;

 private:
  struct Job {
    Job(JobLoop* loop, const std::string& id, JobSpec spec);
    JobLog log;
    std::optional<JobDriver> driver;  // always set; made anew to forget what it asked
    bool dirty = true;                // the driver may have something to do
    AttemptTimes times;               // of search candidates
    absl::Duration served;            // monotonic; when it last got a worker
    int64_t saved = 0;                // candidates of its search when its last snapshot was made
    absl::Time create_time;           // as stored; of one whose log does not tell
    bool set_aside = false;           // its log is damaged, and its leases are ended
  };

  // --- job_loop.cc: life, jobs, ticks
  absl::Status Ready() const;
  absl::Status ReplayAll();
  // Of a job that was just added: reads its log, and takes up what it left open. OK also if the log is damaged.
  absl::Status Load(Job& job);
  Job* AddJob(const std::string& id, const JobSpec& spec);
  absl::StatusOr<Job*> FindJob(const std::string& id_or_name);
  // Commits; Aborted turns into the end of this leadership and Unavailable.
  absl::Status Commit(Job& job, std::vector<EventBody> events, std::vector<std::string> required_records = {});
  // What a write is answered with that the store refused as Aborted.
  absl::Status LoseLead();
  void OnApplied(Job& job, const JobEvent& event);
  void ResyncJobs();
  // Looks whether the store still has the logs that changed lately.
  void MendLogs();
  void RetryStalled();
  void AdvanceJobs();
  // Stores what the optimizer has learnt, if enough was proposed since it was last stored.
  void SaveSnapshot(Job& job);
  // Takes it up, after a replay of the log; without one, or with one that does not fit, the driver learns from the log.
  void RestoreSnapshot(Job& job);
  // Everything is dropped; workers are told to go.
  void Leave();

  // --- job_loop_damage.cc: jobs whose log cannot be replayed
  Job* AddUnreadable(const StoredJob& stored, const absl::Status& why);
  // FindJob of one that can be changed. FailedPrecondition with the way out: it is set aside.
  absl::StatusOr<Job*> FindWhole(const std::string& id_or_name);
  // OK if no job is set aside under that name; of several jobs with it the newest counts.
  absl::Status CheckName(const std::string& name) const;
  absl::Status SetAsideError(const Job& job) const;
  JobSummary DamagedSummary(const Job& job) const;
  // Ends the leases of jobs whose log was found to be damaged: workers stop what they run of them.
  void SetDamagedAside();
  // Reads the job's log anew, in place of what is in memory. FailedPrecondition: it is damaged still.
  absl::StatusOr<Job*> ReadAgain(const Job& job);

  // --- job_loop_control.cc: what people do to jobs and workers
  JobSummary SummaryOf(const Job& job) const;
  // Candidates that the workers which may take the job's evaluate at once.
  int SlotsFor(const Job& job) const;
  // Why the job's queued candidates wait, and what no worker has for them.
  void Explain(const Job& job, JobSummary* summary) const;
  // Why the queued candidate is not dispatched; `named`: with its number. Into `unschedulable` what no worker has.
  std::string WhyWaits(const Job& job, int64_t candidate, bool named, std::string* unschedulable) const;
  absl::StatusOr<JobSummary> SetPaused(const std::string& job, bool paused, const std::string& by);
  absl::StatusOr<JobSummary> ResumeFailed(Job& job, const std::string& by);
  // Logs what was done to a worker in every job that is not over; a log that is stalled goes without.
  void LogWorkerAction(ActionKind kind, const std::string& worker_id, const std::string& why, const std::string& by,
                       absl::Time until = absl::InfiniteFuture());
  // Stores the fleet's quarantines where they are not what the store has. An error: they hold in this process, and Tick
  // tries again.
  absl::Status SaveQuarantines();
  // Looks whether the store still has them, and stores them again if not.
  void MendQuarantines();
  void Quarantine(const std::string& worker_id, const std::string& why);
  void EndQuarantines();

  // --- job_loop_attempts.cc: sessions, leases, reports
  // What the record of a logged attempt says, checked against the log; `sha256` empty: not known. NotFound: there is no
  // record. DataLoss: it is damaged or another's. Unavailable: store away.
  absl::StatusOr<EventBody> ReadRecord(const Job& job, const Candidate& candidate, const Attempt& attempt,
                                       const std::string& sha256);
  // What the record's bytes say. DataLoss as ReadRecord.
  absl::StatusOr<EventBody> ParseRecord(const Job& job, const Candidate& candidate, const Attempt& attempt,
                                        const std::string& sha256, const std::string& bytes);
  // Commits the candidate if an attempt of it left a record. NotFound if none did.
  absl::Status AdoptRecord(Job& job, int64_t candidate);
  // `late`: the attempt had ended already, or its candidate had, and this is not the report that ended it, repeated.
  absl::StatusOr<Disposition> Report(const AttemptReport& report, bool* late);
  absl::StatusOr<Disposition> ReportFailure(Job& job, const AttemptReport& report);
  absl::StatusOr<Disposition> ReportRecord(Job& job, const Attempt& attempt, const AttemptReport& report);
  absl::Status RecoverAttempts(Job& job);
  void ExpireLeases();
  // The attempts of `candidate` are over at `time`; `reported` (0: none) is the one whose record says so, and it
  // `succeeded`.
  void FinishLeases(Job& job, int64_t candidate, int reported, bool succeeded, absl::Time time);
  void EndLease(const Job& job, const AttemptEnded& ended);
  // Second attempts that began while the worker, which comes back with the first ones, was away.
  std::vector<AttemptId> BegunWithout(const std::string& worker, const std::vector<RunningAttempt>& running);
  // Extends what is the worker's and returns what is not.
  std::vector<RunningAttempt> Touch(const std::string& worker_id, const std::vector<RunningAttempt>& running);

  // --- job_loop_dispatch.cc: who gets what, and for how long
  void Dispatch();
  // Adds to events of the job, which are about to be stored, the attempts that can start once they are: of candidates that
  // they propose, or on places that they leave. One write then does for both.
  void AddStarts(Job& job, std::vector<EventBody>* events);
  void Assign(Job& job, const AttemptStarted& started);
  // Second attempts beside stragglers, where slots are idle.
  void Speculate();
  // Gives what waits behind others on workers that are busy to workers with idle slots, and takes these from `idle`.
  void MoveWaiting(std::vector<DispatchWorker>* idle);
  // Stops attempts that evaluate beyond their time; quarantines workers that do not stop.
  void StopOverdue();
  // Workers that take assignments, and into `room` the places that they have.
  std::vector<DispatchWorker> Accepting(size_t* room) const;
  // The job's queue for a plan over `room` places, without candidates of which `skip`, unless it is empty, says so.
  DispatchJob QueueOf(const Job& job, size_t room, const std::function<bool(int64_t)>& skip = nullptr);
  // When the candidate may be dispatched: later than now only after a fetch that failed.
  absl::Time ReadyTime(const JobState& state, int64_t candidate) const;
  // How long an attempt of the job may evaluate; infinite while nothing is known.
  absl::Duration TimeLimit(const Job& job, const Candidate& candidate) const;

  ResultsStore& store_;
  const JobCodec& codec_;
  Clock& clock_;
  JobObserver* const observer_;
  const JobManagerOptions options_;
  Leadership leadership_;
  std::vector<std::unique_ptr<Job>> jobs_;  // oldest first
  std::map<std::string, Job*> job_by_id_;
  LeaseTable leases_;
  Fleet fleet_;
  Dispatcher dispatcher_;
  WorkerHealth health_;
  std::vector<WorkerHealth::Verdict> verdicts_;  // to be carried out in the next tick: they commit
  bool dispatch_due_ = false;
  absl::Time retry_time_ = absl::InfiniteFuture();  // when a candidate that waits may be dispatched
  absl::Duration overdue_at_;
  absl::Duration speculate_at_;
  bool resync_ = false;  // the store may hold a job that we do not
  absl::Duration resync_at_;
  std::string quarantines_;  // as stored
  bool quarantines_changed_ = false;
  absl::Duration quarantines_retry_at_;
  absl::Duration forget_at_;
  absl::Duration mend_at_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_LOOP_H_

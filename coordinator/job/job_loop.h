// What the job manager's thread runs: all jobs, leases and workers, single-threaded, so that tests can drive it step by
// step under a fake clock.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_LOOP_H_
#define MERGANSER_COORDINATOR_JOB_JOB_LOOP_H_

#include <cstdint>
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
#include "coordinator/dispatch/dispatcher.h"
#include "coordinator/dispatch/fleet.h"
#include "coordinator/dispatch/lease_table.h"
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

  // All outlive the loop; `observer` may be null.
  JobLoop(ResultsStore* store, const JobCodec* codec, Clock* clock, JobObserver* observer,
          const JobManagerOptions& options);

  absl::Status Start();
  void Stop();
  bool leading() const { return leadership_.held(); }
  int64_t epoch() const { return leadership_.epoch(); }

  absl::StatusOr<JobSummary> CreateJob(const std::string& request_id, const JobSpec& spec);
  absl::StatusOr<JobSummary> GetJob(const std::string& job);
  absl::StatusOr<std::vector<JobSummary>> ListJobs();
  absl::StatusOr<JobSummary> CancelJob(const std::string& job);
  absl::StatusOr<Candidate> GetCandidate(const std::string& job, int64_t number);
  absl::StatusOr<std::vector<Candidate>> ListCandidates(const std::string& job);
  // What is there now, perhaps nothing.
  absl::StatusOr<JobManager::EventBatch> EventsAfter(const std::string& job, int64_t after_seq);
  // Whether EventsAfter would have something to say: an event, an error, or that the job is over.
  bool HasEventsAfter(const std::string& job, int64_t after_seq);

  absl::Status WorkerConnected(const WorkerInfo& info, const std::vector<RunningAttempt>& running,
                               std::shared_ptr<WorkerLink> link);
  void WorkerHeartbeat(const std::string& worker_id, const std::vector<RunningAttempt>& running,
                       bool draining);
  void WorkerDisconnected(const std::string& worker_id, const WorkerLink* link, bool gone);
  absl::StatusOr<Disposition> ReportAttempt(const AttemptReport& report);
  absl::StatusOr<std::vector<WorkerStatus>> ListWorkers();
  absl::Status DrainWorker(const std::string& worker_id);

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
    bool dirty = true;  // the driver may have something to do
  };

  // --- job_loop.cc: life, jobs, ticks
  absl::Status Ready() const;
  absl::Status ReplayAll();
  Job* AddJob(const std::string& id, const JobSpec& spec);
  absl::StatusOr<Job*> FindJob(const std::string& id_or_name);
  // Commits; Aborted turns into the end of this leadership and Unavailable.
  absl::Status Commit(Job& job, std::vector<EventBody> events, const std::string& required_record = "");
  void OnApplied(Job& job, const JobEvent& event);
  void ResyncJobs();
  // Looks whether the store still has the logs that changed lately.
  void MendLogs();
  void RetryStalled();
  void AdvanceJobs();
  // Everything is dropped; workers are told to go.
  void Leave();

  // --- job_loop_attempts.cc: leases, reports, dispatch
  // What the record of a logged attempt says, checked against the log; `sha256` empty: not known. NotFound: there is no
  // record. DataLoss: it is damaged or another's. Unavailable: store away.
  absl::StatusOr<CandidateFinished> ReadRecord(const Job& job, const Candidate& candidate,
                                               const Attempt& attempt, const std::string& sha256);
  // Commits the candidate if an attempt of it left a record. NotFound if none did.
  absl::Status AdoptRecord(Job& job, int64_t candidate);
  absl::StatusOr<Disposition> Report(const AttemptReport& report);
  absl::StatusOr<Disposition> ReportFailure(Job& job, const AttemptReport& report);
  absl::StatusOr<Disposition> ReportRecord(Job& job, const Attempt& attempt, const AttemptReport& report);
  absl::Status RecoverAttempts(Job& job);
  void ExpireLeases();
  void Dispatch();
  void Assign(Job& job, const AttemptStarted& started);
  void FinishLeases(Job& job, const CandidateFinished& finished);
  // Extends what is the worker's and returns what is not.
  std::vector<RunningAttempt> Touch(const std::string& worker_id,
                                    const std::vector<RunningAttempt>& running);

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
  bool dispatch_due_ = false;
  bool resync_ = false;  // the store may hold a job that we do not
  absl::Duration resync_at_;
  absl::Duration forget_at_;
  absl::Duration mend_at_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_LOOP_H_

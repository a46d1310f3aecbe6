// A JobManager that only lists what a test gives it.
#ifndef MERGANSER_TESTS_COORDINATOR_HTTP_LISTED_JOBS_H_
#define MERGANSER_TESTS_COORDINATOR_HTTP_LISTED_JOBS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/job/job_manager.h"

namespace merganser {

class ListedJobs : public JobManager {
 public:
  std::vector<JobSummary> jobs;
  std::vector<WorkerStatus> workers;
  bool leads = true;

  absl::Status Start() override { return absl::OkStatus(); }
  void Stop() override {}
  bool leading() const override { return leads; }
  int64_t epoch() const override { return 3; }
  absl::StatusOr<std::vector<JobSummary>> ListJobs() override { return jobs; }
  absl::StatusOr<std::vector<WorkerStatus>> ListWorkers() override { return workers; }

  absl::StatusOr<JobSummary> CreateJob(const std::string&, const JobSpec&, const std::string&) override { return Unused(); }
  absl::StatusOr<JobSummary> GetJob(const std::string&) override { return Unused(); }
  absl::StatusOr<JobSummary> CancelJob(const std::string&, const std::string&) override { return Unused(); }
  absl::StatusOr<JobSummary> PauseJob(const std::string&, const std::string&) override { return Unused(); }
  absl::StatusOr<JobSummary> ResumeJob(const std::string&, const std::string&) override { return Unused(); }
  absl::StatusOr<JobSummary> UpdateJob(const std::string&, const JobUpdate&, const std::string&) override {
    return Unused();
  }
  absl::StatusOr<Candidate> GetCandidate(const std::string&, int64_t) override { return Unused(); }
  absl::StatusOr<std::vector<Candidate>> ListCandidates(const std::string&) override { return Unused(); }
  absl::Status LookAtCandidates(const std::string&, CandidatesLook) override { return Unused(); }
  absl::StatusOr<EventBatch> WaitForEvents(const std::string&, int64_t, absl::Duration) override { return Unused(); }
  absl::Status WorkerConnected(const WorkerInfo&, const std::vector<RunningAttempt>&, std::shared_ptr<WorkerLink>) override {
    return Unused();
  }
  void WorkerHeartbeat(const std::string&, const std::vector<RunningAttempt>&, bool) override {}
  void WorkerDisconnected(const std::string&, const WorkerLink*, bool) override {}
  absl::StatusOr<Disposition> ReportAttempt(const AttemptReport&) override { return Unused(); }
  absl::Status DrainWorker(const std::string&, const std::string&) override { return Unused(); }
  absl::Status QuarantineWorker(const std::string&, absl::Duration, const std::string&, const std::string&) override {
    return Unused();
  }
  absl::Status ReleaseWorker(const std::string&, const std::string&) override { return Unused(); }

 private:
  static absl::Status Unused() { return absl::UnimplementedError("this manager only lists"); }
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_COORDINATOR_HTTP_LISTED_JOBS_H_

// Where the reading verbs get jobs from: a coordinator (server_jobs.h), or a store that a run left
// (store_jobs.h).
#ifndef MERGANSER_CLIENT_JOB_READER_H_
#define MERGANSER_CLIENT_JOB_READER_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "merganser/v1/job.pb.h"
#include "merganser/v1/job_service.pb.h"

namespace merganser {

struct CandidateQuery {
  std::string kind, state;  // "": all
  std::string order_by;     // "number" or "fitness"
  int64_t limit = 0;        // the first so many; 0: all
};

// `job` is an id ("job-7") or a name (the newest job of that name). Errors: NotFound for a job or
// candidate, Unavailable if the coordinator or store is away, PermissionDenied and Unauthenticated.
// One thread at a time.
class JobReader {
 public:
  virtual ~JobReader() = default;

  virtual absl::StatusOr<v1::Job> GetJob(const std::string& job) = 0;
  // Oldest first.
  virtual absl::StatusOr<std::vector<v1::Job>> ListJobs() = 0;
  virtual absl::StatusOr<std::vector<v1::Candidate>> ListCandidates(const std::string& job, const CandidateQuery& query) = 0;
  virtual absl::StatusOr<v1::Candidate> GetCandidate(const std::string& job, int64_t number) = 0;
  // The same, with why it waits where a coordinator says so; without its record.
  virtual absl::StatusOr<v1::GetCandidateResponse> DescribeCandidate(const std::string& job, int64_t number) {
    absl::StatusOr<v1::Candidate> candidate = GetCandidate(job, number);
    if (!candidate.ok()) return candidate.status();
    v1::GetCandidateResponse response;
    *response.mutable_candidate() = *std::move(candidate);
    return response;
  }

  // A result record (v1::ResultRecord, serialized), by Candidate.record_key.
  virtual absl::StatusOr<std::string> GetRecord(const std::string& key) = 0;

  // Calls `on_update` with the job as it is (seq 0), then with each event after `after_seq` as it
  // comes, until the job's last event, or until `on_update` returns false: OK. DeadlineExceeded at
  // `deadline`, Cancelled after a stop request. A coordinator that goes away is waited for, for a
  // minute.
  using UpdateFunction = std::function<bool(const v1::WatchJobResponse&)>;
  virtual absl::Status Follow(const std::string& job, int64_t after_seq, absl::Time deadline, std::stop_token stop,
                              const UpdateFunction& on_update) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_JOB_READER_H_

// A results store in this process's memory: for tests and for runs that nobody wants back (--store
// memory:).
#ifndef MERGANSER_COMMON_STORE_MEMORY_MEMORY_STORE_H_
#define MERGANSER_COMMON_STORE_MEMORY_MEMORY_STORE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/store/results_store.h"

namespace merganser {

// Nothing outlives the object; "durable" means until then. Thread-safe.
class MemoryStore final : public ResultsStore {
 public:
  // `clock` decides about leases (Monotonic) and job times (Now); it must outlive the store.
  explicit MemoryStore(const Clock& clock = Clock::Real()) : clock_(clock) {}

  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override;
  absl::StatusOr<std::string> GetRecord(const std::string& key) override;
  absl::StatusOr<int64_t> Lead(const std::string& holder, absl::Duration lease) override;
  absl::Status RenewLead(int64_t epoch, absl::Duration lease) override;
  absl::Status ReleaseLead(int64_t epoch) override;
  absl::StatusOr<std::string> CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                        absl::string_view spec) override;
  absl::StatusOr<std::vector<StoredJob>> ListJobs() override;
  absl::Status Append(int64_t epoch, const std::string& job_id, int64_t expected_seq, absl::Span<const std::string> events,
                      absl::Span<const std::string> required_records = {}) override;
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(const std::string& job_id, int64_t after_seq, int64_t limit) override;
  absl::Status PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) override;
  absl::StatusOr<std::optional<StoredSnapshot>> GetSnapshot(const std::string& job_id) override;
  absl::Status PutFleet(int64_t epoch, absl::string_view body) override;
  absl::StatusOr<std::string> GetFleet() override;
  std::string uri() const override { return "memory:"; }

 private:
  struct Job {
    StoredJob job;
    std::vector<std::string> events;  // events[i] has seq i + 1
    std::optional<StoredSnapshot> snapshot;
  };
  struct Request {
    std::string job_id;
    absl::Duration made;  // monotonic
  };

  absl::Status CheckEpoch(int64_t epoch) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // nullptr if there is none.
  Job* FindJob(const std::string& job_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const Clock& clock_;

  absl::Mutex mu_;
  int64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  std::string holder_ ABSL_GUARDED_BY(mu_);
  absl::Duration lease_end_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  std::map<std::string, std::string> records_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Request> requests_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Job> jobs_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> job_ids_ ABSL_GUARDED_BY(mu_);  // oldest first
  std::string fleet_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_MEMORY_MEMORY_STORE_H_

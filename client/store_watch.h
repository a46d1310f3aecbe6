// Notices when the results store of a `merganser run` stops taking writes (a full disk, say), without which it cannot go on.
#ifndef MERGANSER_CLIENT_STORE_WATCH_H_
#define MERGANSER_CLIENT_STORE_WATCH_H_

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "coordinator/job/job_manager.h"
#include "worker/agent/agent_observer.h"

namespace merganser {

// Sees the writes of the job's log and of result records. Thread-safe.
class StoreWatch final : public JobObserver, public AgentObserver {
 public:
  explicit StoreWatch(const Clock& clock = Clock::Real()) : clock_(clock) {}

  struct Outage {
    absl::Duration since;  // monotonic: the first write in a row that failed
    absl::Status error;    // of the last one
  };
  // nullopt: the last write of either kind succeeded.
  std::optional<Outage> outage() const;

  // JobObserver.
  void OnEvent(const std::string& /*job_id*/, const JobEvent& /*event*/) override {}
  void OnReport(Disposition /*disposition*/) override {}
  void OnStoreCommit(absl::string_view operation, absl::Duration took, const absl::Status& status) override;
  void OnDispatched(absl::Duration /*waited*/) override {}

  // AgentObserver.
  void OnAttempt(absl::string_view /*outcome*/, absl::Duration /*took*/) override {}
  void OnEvaluation(const Evaluation& /*evaluation*/) override {}
  void OnReported(absl::string_view /*disposition*/, absl::Duration /*recording*/) override {}
  void OnSpool(int64_t /*results*/) override {}
  void OnRecordWrite(const absl::Status& status) override;

 private:
  void Take(const absl::Status& status, std::optional<Outage>* outage) ABSL_LOCKS_EXCLUDED(mu_);

  const Clock& clock_;
  mutable absl::Mutex mu_;
  std::optional<Outage> log_ ABSL_GUARDED_BY(mu_);
  std::optional<Outage> records_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_STORE_WATCH_H_

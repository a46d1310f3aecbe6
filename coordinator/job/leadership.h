// This coordinator's right to write: the store's leader lease and its epoch.
#ifndef MERGANSER_COORDINATOR_JOB_LEADERSHIP_H_
#define MERGANSER_COORDINATOR_JOB_LEADERSHIP_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/store/results_store.h"

namespace merganser {

// Renews every third of the lease. A fifth of the lease before its end by this machine's monotonic clock it stops acting:
// whoever leads next must not meet a predecessor that still believes. If the store comes back and nobody else led
// meanwhile, it acts again. Not thread-safe; only the job loop uses it.
class Leadership {
 public:
  // Both outlive it.
  Leadership(ResultsStore* store, Clock* clock) : store_(*store), clock_(*clock) {}

  // Unavailable while another leads.
  absl::Status Acquire(const std::string& holder, absl::Duration lease);
  // Renews if it is time; nullopt if it is not. Aborted: another leads, held() is false from now on. Unavailable: the store
  // is away; held() but perhaps no longer acting(). An outage is logged when it begins, every half minute, and at its end.
  std::optional<absl::Status> RenewIfDue();
  // The same; OK if it is not time.
  absl::Status Renew() { return RenewIfDue().value_or(absl::OkStatus()); }
  // The store said Aborted to a write.
  void Lose() { held_ = false; }
  void Release();

  bool held() const { return held_; }
  bool acting() const { return held_ && clock_.Monotonic() < deadline_ - lease_ / 5; }
  int64_t epoch() const { return epoch_; }
  // Why the last renewal failed; OK if it did not.
  const absl::Status& failure() const { return failure_; }

 private:
  ResultsStore& store_;
  Clock& clock_;
  bool held_ = false;
  int64_t epoch_ = 0;
  absl::Duration lease_;
  absl::Duration deadline_;  // monotonic; the store's own is not earlier
  absl::Duration renew_at_;  // monotonic
  absl::Status failure_;
  absl::Duration failing_since_;  // monotonic; these two while failure_ is not OK
  absl::Duration tell_at_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_LEADERSHIP_H_

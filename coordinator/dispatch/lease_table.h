// The attempts that workers hold, each until a deadline on the monotonic clock.
#ifndef MERGANSER_COORDINATOR_DISPATCH_LEASE_TABLE_H_
#define MERGANSER_COORDINATOR_DISPATCH_LEASE_TABLE_H_

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "common/domain/candidate.h"
#include "common/domain/dispatch.h"

namespace merganser {

struct Lease {
  AttemptId id;
  std::string token;
  std::string worker;
  absl::Duration deadline;                                     // monotonic; expired from then on
  absl::Duration last_listed;                                  // monotonic; when granted, or when the worker last named it
  FailureClass on_expiry = FailureClass::kWorkerLost;          // how the attempt ends if the lease does
  std::string message;                                         // why; "" when the worker was just silent
  absl::Duration evaluating_since = absl::InfiniteDuration();  // monotonic; when it was first listed as being evaluated
};

// Keeps leases; decides nothing. At most one lease per attempt. Not thread-safe; only the job loop uses it. Times are
// those of Clock::Monotonic.
class LeaseTable {
 public:
  // Replaces a lease of the same attempt.
  void Grant(Lease lease);
  // nullptr if there is none. Valid until the next change.
  const Lease* Find(const AttemptId& id) const;
  // The worker named the attempt at `now`: a lease that was about to end for another reason goes on. False if there is no
  // such lease, or the token or the worker is another. `phase`: as the worker names it; "queued" and "record" are before
  // and after the evaluation.
  bool Extend(const AttemptId& id, const std::string& token, const std::string& worker, absl::Duration now,
              absl::Duration deadline, absl::string_view phase = "");
  // Ends the lease at `now`: it is among the Expired from then on, until it is removed, extended or postponed.
  void Expire(const AttemptId& id, absl::Duration now, FailureClass on_expiry, std::string message);
  // Only moves the deadline, keeping why it ends.
  void Postpone(const AttemptId& id, absl::Duration deadline);
  // All of them as if they were granted at `now`: only their times change.
  void RestartAll(absl::Duration now, absl::Duration deadline);
  // False if there is none.
  bool Remove(const AttemptId& id);
  void Clear();

  // Every lease, in no order; valid until the next change.
  const absl::flat_hash_map<AttemptId, Lease>& all() const { return leases_; }
  // Leases whose deadline is at or before `now`, earliest first.
  std::vector<Lease> Expired(absl::Duration now) const;
  // In order of job, candidate, attempt.
  std::vector<Lease> OfWorker(const std::string& worker) const;
  int CountOfWorker(const std::string& worker) const;
  size_t size() const { return leases_.size(); }

 private:
  struct AttemptOrder {
    bool operator()(const AttemptId& a, const AttemptId& b) const {
      return std::tie(a.job_id, a.candidate, a.attempt) < std::tie(b.job_id, b.candidate, b.attempt);
    }
  };
  struct DeadlineOrder {
    bool operator()(const std::pair<absl::Duration, AttemptId>& a, const std::pair<absl::Duration, AttemptId>& b) const {
      if (a.first != b.first) return a.first < b.first;
      return AttemptOrder()(a.second, b.second);
    }
  };
  void SetDeadline(Lease& lease, absl::Duration deadline);

  absl::flat_hash_map<AttemptId, Lease> leases_;
  std::set<std::pair<absl::Duration, AttemptId>, DeadlineOrder> by_deadline_;
  std::map<std::string, std::set<AttemptId, AttemptOrder>> by_worker_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_LEASE_TABLE_H_

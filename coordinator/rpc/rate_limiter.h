// How many calls a client may make.
#ifndef MERGANSER_COORDINATOR_RPC_RATE_LIMITER_H_
#define MERGANSER_COORDINATOR_RPC_RATE_LIMITER_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace merganser {

// A token bucket per client: each may make `per_second` calls a second for ever, and kBurstSeconds' worth at once after it
// has been quiet. Thread-safe; a call costs one lookup.
class RateLimiter {
 public:
  static constexpr double kBurstSeconds = 4;
  // Clients that are told apart. While so many have an unfilled bucket, further ones share one.
  static constexpr size_t kClientsMax = 10'000;
  // Between looks for buckets that are full again, when there are too many; and between log lines about one client.
  static constexpr absl::Duration kSweepInterval = absl::Seconds(1);
  static constexpr absl::Duration kTellInterval = absl::Minutes(1);

  // `per_second` 0: no bound. `clock` outlives it.
  explicit RateLimiter(double per_second, const Clock& clock = Clock::Real());

  // Zero: the client may make this call, and it is counted. Else how long to wait before the next would be let in.
  absl::Duration Take(absl::string_view client) ABSL_LOCKS_EXCLUDED(mu_);
  size_t clients() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return buckets_.size();
  }

 private:
  struct Bucket {
    absl::Duration full_at;  // monotonic; an earlier one: it is full
    absl::Duration told_at = -absl::InfiniteDuration();
  };
  Bucket& BucketOf(absl::string_view client, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const absl::Duration interval_;  // zero: no bound
  const absl::Duration debt_max_;
  const Clock& clock_;

  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::string, Bucket> buckets_ ABSL_GUARDED_BY(mu_);
  Bucket shared_ ABSL_GUARDED_BY(mu_);
  absl::Duration swept_at_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

// "ipv4:10.0.0.7:5123" -> "ipv4:10.0.0.7": a host, whatever its connection.
absl::string_view HostOfPeer(absl::string_view peer);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_RATE_LIMITER_H_

#include "coordinator/rpc/rate_limiter.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "common/base/log.h"

namespace merganser {

RateLimiter::RateLimiter(double per_second, const Clock& clock)
    : interval_(per_second > 0 ? absl::Seconds(1) / per_second : absl::ZeroDuration()),
      // At least one call may always come, however low the rate.
      debt_max_(std::max(absl::Seconds(kBurstSeconds) - interval_, absl::ZeroDuration())),
      clock_(clock) {}

RateLimiter::Bucket& RateLimiter::BucketOf(absl::string_view client, absl::Duration now) {
  if (const auto it = buckets_.find(client); it != buckets_.end()) return it->second;
  if (buckets_.size() >= kClientsMax && now - swept_at_ >= kSweepInterval) {
    swept_at_ = now;
    absl::erase_if(buckets_, [now](const auto& bucket) { return bucket.second.full_at <= now; });
  }
  return buckets_.size() >= kClientsMax ? shared_ : buckets_[client];
}

absl::Duration RateLimiter::Take(absl::string_view client) {
  if (interval_ == absl::ZeroDuration()) return absl::ZeroDuration();
  bool tell;
  absl::Duration wait;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = clock_.Monotonic();
    Bucket& bucket = BucketOf(client, now);
    const absl::Duration full_at = std::max(bucket.full_at, now);
    wait = full_at - now - debt_max_;
    if (wait <= absl::ZeroDuration()) {
      bucket.full_at = full_at + interval_;
      return absl::ZeroDuration();
    }
    tell = now - bucket.told_at >= kTellInterval;
    if (tell) bucket.told_at = now;
  }
  if (tell) {
    MG_LOG(WARNING) << "a client calls too often, calls are refused client=\"" << client << '"';
  }
  return wait;
}

absl::string_view HostOfPeer(absl::string_view peer) {
  if (!absl::StartsWith(peer, "ipv4:") && !absl::StartsWith(peer, "ipv6:")) return peer;
  return peer.substr(0, peer.rfind(':'));
}

}  // namespace merganser

// Full-jitter exponential backoff: the n-th wait is uniform in [0, min(max, first * 2^n)], so that a fleet that lost its
// coordinator does not come back in one wave.
#ifndef MERGANSER_COMMON_RPC_BACKOFF_H_
#define MERGANSER_COMMON_RPC_BACKOFF_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "common/base/rng.h"

namespace merganser {

// Not thread-safe. Copyable.
class Backoff {
 public:
  // REQUIRES: 0 < first <= max. `seed`: differs between processes.
  Backoff(absl::Duration first, absl::Duration max, uint64_t seed) : first_(first), max_(max), rng_(seed, 0) {}

  // How long to wait before the next try; never below a tenth of `first`, so that a loop cannot spin.
  absl::Duration Next() {
    const absl::Duration bound = std::min(max_, first_ * (int64_t{1} << std::min(tries_, 30)));
    ++tries_;
    return std::max(bound * rng_.Uniform(), first_ / 10);
  }
  // After a success.
  void Reset() { tries_ = 0; }
  int tries() const { return tries_; }

 private:
  absl::Duration first_;
  absl::Duration max_;
  Rng rng_;
  int tries_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_BACKOFF_H_

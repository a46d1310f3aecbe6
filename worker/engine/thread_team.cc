#include "worker/engine/thread_team.h"

namespace merganser {
namespace {

constexpr int kSpins = 4000;  // some tens of microseconds: longer than a layer's gaps, shorter than
                              // a scheduler's slice

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits for `condition`: a short look, then asleep until a holder of `mu` has made it true.
template <typename Condition>
void WaitUntil(absl::Mutex& mu, const Condition& condition) {
  for (int i = 0; i < kSpins; ++i) {
    if (condition()) return;
    Pause();
  }
  mu.LockWhen(absl::Condition(&condition));
  mu.Unlock();
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) {
  for (int member = 1; member < threads; ++member) {
    workers_.emplace_back([this, member] { Work(member); });
  }
}

ThreadTeam::~ThreadTeam() {
  absl::MutexLock lock(&mu_);
  stopping_.store(true, std::memory_order_release);
}

void ThreadTeam::Claim(int member) {
  for (;;) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    (*body_)(index, member);
  }
}

void ThreadTeam::Work(int member) {
  uint64_t seen = 0;
  for (;;) {
    WaitUntil(mu_,
              [&] { return epoch_.load(std::memory_order_acquire) != seen || stopping_.load(std::memory_order_acquire); });
    if (stopping_.load(std::memory_order_acquire)) return;
    seen = epoch_.load(std::memory_order_acquire);
    Claim(member);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) absl::MutexLock wake_caller(&mu_);
  }
}

void ThreadTeam::For(int64_t count, absl::FunctionRef<void(int64_t index, int member)> body) {
  if (count <= 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  {
    absl::MutexLock wake_members(&mu_);
    body_ = &body;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
  }
  Claim(0);
  WaitUntil(mu_, [&] { return busy_.load(std::memory_order_acquire) == 0; });
}

}  // namespace merganser

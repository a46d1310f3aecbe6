// A clock that stands still until it is told to advance.
#ifndef MERGANSER_TESTS_TESTING_FAKE_CLOCK_H_
#define MERGANSER_TESTS_TESTING_FAKE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace merganser {

// Thread-safe. Starts at 2026-01-01 UTC and at monotonic 1000 s.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override {
    absl::MutexLock lock(&mu_);
    return absl::FromUnixSeconds(1767225600) + passed_;
  }
  absl::Duration Monotonic() const override {
    absl::MutexLock lock(&mu_);
    return absl::Seconds(1000) + passed_;
  }
  void Advance(absl::Duration by) {
    absl::MutexLock lock(&mu_);
    passed_ += by;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Duration passed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_TESTING_FAKE_CLOCK_H_

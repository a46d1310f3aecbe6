// Time enters the program here, so that tests can drive it (tests/testing/fake_clock.h).
#ifndef MERGANSER_COMMON_BASE_CLOCK_H_
#define MERGANSER_COMMON_BASE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace merganser {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time; only for records and for people. Differences of it may jump.
  virtual absl::Time Now() const = 0;
  // Monotonic time since an arbitrary start; deadlines and leases are computed from it.
  virtual absl::Duration Monotonic() const = 0;

  // The process's real clock.
  static Clock& Real();
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_CLOCK_H_

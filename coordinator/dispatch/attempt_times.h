// How long a job's attempts take.
#ifndef MERGANSER_COORDINATOR_DISPATCH_ATTEMPT_TIMES_H_
#define MERGANSER_COORDINATOR_DISPATCH_ATTEMPT_TIMES_H_

#include <cstddef>
#include <deque>
#include <optional>

#include "absl/time/time.h"

namespace merganser {

// Of the last kKept attempts that succeeded. Not thread-safe.
class AttemptTimes {
 public:
  static constexpr size_t kKept = 256;
  static constexpr size_t kEnough = 5;  // fewer say nothing

  void Add(absl::Duration took);
  // nullopt until there are enough.
  std::optional<absl::Duration> Longest() const;
  // Three of four took at most this long.
  std::optional<absl::Duration> ThirdQuartile() const;

 private:
  std::deque<absl::Duration> times_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_DISPATCH_ATTEMPT_TIMES_H_

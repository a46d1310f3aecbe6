#include "coordinator/dispatch/attempt_times.h"

#include <algorithm>
#include <vector>

namespace merganser {

void AttemptTimes::Add(absl::Duration took) {
  times_.push_back(took);
  if (times_.size() > kKept) times_.pop_front();
}

std::optional<absl::Duration> AttemptTimes::Longest() const {
  if (times_.size() < kEnough) return std::nullopt;
  return *std::max_element(times_.begin(), times_.end());
}

std::optional<absl::Duration> AttemptTimes::ThirdQuartile() const {
  if (times_.size() < kEnough) return std::nullopt;
  std::vector<absl::Duration> sorted(times_.begin(), times_.end());
  const auto at = sorted.begin() + static_cast<ptrdiff_t>((sorted.size() - 1) * 3 / 4);
  std::nth_element(sorted.begin(), at, sorted.end());
  return *at;
}

}  // namespace merganser

// A store that may come up after the process that needs it.
#ifndef MERGANSER_COMMON_STORE_OPEN_IN_TIME_H_
#define MERGANSER_COMMON_STORE_OPEN_IN_TIME_H_

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"

namespace merganser {

// `open()` (OpenStore, OpenRecordStore), tried again while it says Unavailable, or ResourceExhausted (Redis is full), for
// `patience`: the last try's answer. In between it calls `interrupted`, which waits a moment and says whether the process is
// to end: Cancelled then.
template <typename Open>
auto OpenInTime(const Open& open, absl::Duration patience, const std::function<bool()>& interrupted,
                const Clock& clock = Clock::Real()) -> decltype(open()) {
  const absl::Duration deadline = clock.Monotonic() + patience;
  bool told = false;
  while (true) {
    auto store = open();
    const bool may_pass = absl::IsUnavailable(store.status()) || absl::IsResourceExhausted(store.status());
    if (!may_pass || clock.Monotonic() >= deadline) return store;
    if (!std::exchange(told, true)) {
      MG_LOG(WARNING) << "store away, waiting for=" << absl::FormatDuration(patience) << " error=\""
                      << store.status().message() << '"';
    }
    if (interrupted()) return absl::CancelledError("stopped while the store was away");
  }
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_OPEN_IN_TIME_H_

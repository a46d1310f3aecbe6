// SIGTERM and SIGINT as something that a main thread waits for, instead of a handler.
#ifndef MERGANSER_COMMON_RPC_SHUTDOWN_SIGNAL_H_
#define MERGANSER_COMMON_RPC_SHUTDOWN_SIGNAL_H_

#include <optional>

#include "absl/time/time.h"

namespace merganser {

// Make one at the start of main(), before any thread: it blocks both signals in this thread and in those that it starts, and
// ignores SIGPIPE.
class ShutdownSignal {
 public:
  ShutdownSignal();
  ~ShutdownSignal();
  ShutdownSignal(const ShutdownSignal&) = delete;
  ShutdownSignal& operator=(const ShutdownSignal&) = delete;

  // The next signal's number, or nullopt after `timeout`. One thread at a time.
  std::optional<int> Wait(absl::Duration timeout);

 private:
  int fd_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_SHUTDOWN_SIGNAL_H_

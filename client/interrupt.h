// Ctrl-C and SIGTERM: the first asks to stop, the second ends the process at once.
#ifndef MERGANSER_CLIENT_INTERRUPT_H_
#define MERGANSER_CLIENT_INTERRUPT_H_

#include <atomic>
#include <stop_token>
#include <string>
#include <thread>

#include "common/rpc/shutdown_signal.h"

namespace merganser {

// Make it before any other thread starts (libraries that start threads included); one per process.
// Thread-safe.
class Interrupt {
 public:
  // `message` goes to stderr at the first signal, as a line of its own.
  explicit Interrupt(std::string message);
  ~Interrupt();

  std::stop_token token() const { return source_.get_token(); }
  // The first signal's number; 0: none came.
  int signal() const { return signal_.load(); }

 private:
  void Loop(std::stop_token done);

  const std::string message_;
  ShutdownSignal shutdown_;
  std::stop_source source_;
  std::atomic<int> signal_{0};
  std::jthread thread_;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_INTERRUPT_H_

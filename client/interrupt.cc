#include "client/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>

#include "client/exit_code.h"

namespace merganser {

Interrupt::Interrupt(std::string message)
    : message_(std::move(message)), thread_([this](std::stop_token done) { Loop(std::move(done)); }) {}

Interrupt::~Interrupt() {
  thread_.request_stop();
  // Wakes the thread, which then knows that nobody pressed a key. The signal is blocked everywhere: it can only be read.
  pthread_kill(thread_.native_handle(), SIGTERM);
}

void Interrupt::Loop(std::stop_token done) {
  while (true) {
    const std::optional<int> signal = shutdown_.Wait(absl::InfiniteDuration());
    if (done.stop_requested()) return;
    if (!signal) continue;
    if (signal_.exchange(*signal) != 0) _exit(exit_code::FromSignal(*signal));
    std::fprintf(stderr, "\n%s\n", message_.c_str());
    source_.request_stop();
  }
}

}  // namespace merganser

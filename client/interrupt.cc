#include "client/interrupt.h"

#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>

#include "client/exit_code.h"

namespace merganser {

Interrupt::Interrupt(std::string message)
    : message_(std::move(message)), thread_([this](std::stop_token done) { Loop(std::move(done)); }) {}

void Interrupt::Loop(std::stop_token done) {
  while (!done.stop_requested()) {
    // Bounds how long the destructor waits.
    const std::optional<int> signal = shutdown_.Wait(absl::Milliseconds(50));
    if (!signal) continue;
    if (signal_.exchange(*signal) != 0) _exit(exit_code::FromSignal(*signal));
    std::fprintf(stderr, "\n%s\n", message_.c_str());
    source_.request_stop();
  }
}

}  // namespace merganser

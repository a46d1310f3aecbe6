// The time that a phase of an attempt takes.
#ifndef MERGANSER_WORKER_EVALUATE_STOPWATCH_H_
#define MERGANSER_WORKER_EVALUATE_STOPWATCH_H_

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace merganser {

// Adds the seconds from its construction to its destruction to `*seconds`, which outlives it. One thread.
class Stopwatch {
 public:
  explicit Stopwatch(double* seconds) : seconds_(seconds), start_(Clock::Real().Monotonic()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { *seconds_ += absl::ToDoubleSeconds(Clock::Real().Monotonic() - start_); }

 private:
  double* seconds_;
  absl::Duration start_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_STOPWATCH_H_

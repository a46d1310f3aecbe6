// Runs a measurement at intervals on a thread of its own, so that neither a slow disk nor a store that is away delays the
// thread that keeps the lead.
#ifndef MERGANSER_COORDINATOR_HTTP_BACKGROUND_SAMPLER_H_
#define MERGANSER_COORDINATOR_HTTP_BACKGROUND_SAMPLER_H_

#include <functional>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace merganser {

class BackgroundSampler {
 public:
  // Calls `sample` at once and then `interval` after the end of each call.
  BackgroundSampler(absl::Duration interval, std::function<void()> sample)
      : thread_([this, interval, sample = std::move(sample)] {
          do sample();
          while (!ended_.WaitForNotificationWithTimeout(interval));
        }) {}
  // Waits for the call in progress.
  ~BackgroundSampler() {
    ended_.Notify();
    thread_.join();
  }
  BackgroundSampler(const BackgroundSampler&) = delete;
  BackgroundSampler& operator=(const BackgroundSampler&) = delete;

 private:
  absl::Notification ended_;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_BACKGROUND_SAMPLER_H_

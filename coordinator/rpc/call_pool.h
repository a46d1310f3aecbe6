// Threads that may wait, so that gRPC's own never do: handlers run here while the job loop works on their command.
#ifndef MERGANSER_COORDINATOR_RPC_CALL_POOL_H_
#define MERGANSER_COORDINATOR_RPC_CALL_POOL_H_

#include <deque>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace merganser {

// Thread-safe. Threads are started as calls need them.
class CallPool {
 public:
  // `queue_max`: calls that wait for a thread. `bytes_max`: of all that wait or run.
  CallPool(int threads_max, int queue_max, size_t bytes_max = std::numeric_limits<size_t>::max());
  // Stop().
  ~CallPool();

  // False, without running it, when all threads are busy and the queue is full, when the `bytes` that the call holds until
  // it has run are too many beside those of the others, or after Stop.
  bool Run(std::function<void()> call, size_t bytes = 0);
  // Runs what is queued and ends the threads. Idempotent.
  void Stop();
  bool stopped() {
    absl::MutexLock lock(&mu_);
    return stopping_;
  }

 private:
  void Work();

  const int threads_max_;
  const size_t queue_max_, bytes_max_;

  absl::Mutex mu_;
  struct Queued {
    std::function<void()> call;
    size_t bytes;
  };
  std::deque<Queued> queue_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of what waits or runs
  int idle_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_CALL_POOL_H_

// Threads that may wait, so that gRPC's own never do: handlers run here while the job loop works on their command.
#ifndef MERGANSER_COORDINATOR_RPC_CALL_POOL_H_
#define MERGANSER_COORDINATOR_RPC_CALL_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace merganser {

// Thread-safe. Threads are started as calls need them.
class CallPool {
 public:
  // `queue_max`: calls that wait for a thread.
  CallPool(int threads_max, int queue_max);
  // Stop().
  ~CallPool();

  // False, without running it, when all threads are busy and the queue is full, or after Stop.
  bool Run(std::function<void()> call);
  // Runs what is queued and ends the threads. Idempotent.
  void Stop();
  bool stopped() {
    absl::MutexLock lock(&mu_);
    return stopping_;
  }

 private:
  void Work();

  const int threads_max_;
  const size_t queue_max_;

  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  int idle_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_CALL_POOL_H_

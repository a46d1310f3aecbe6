// A fixed number of threads that share the iterations of one loop.
#ifndef MERGANSER_WORKER_MERGE_THREAD_POOL_H_
#define MERGANSER_WORKER_MERGE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace merganser {

// One caller at a time. Starting a loop allocates nothing.
class ThreadPool {
 public:
  using Body = absl::FunctionRef<void(int thread, int64_t index)>;

  // `threads` >= 1, the caller's thread included.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(thread, index) once for every index in [0, count), in any order, with thread in [0,
  // threads()); returns when all calls have. No two calls run at once with the same thread number.
  // `body` must not throw.
  void For(int64_t count, Body body) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Loop(int thread) ABSL_LOCKS_EXCLUDED(mu_);
  bool WorkOrEnd() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ending_ || waiting_ > 0; }
  bool AllDone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return running_ == 0; }

  std::atomic<int64_t> next_{0};

  absl::Mutex mu_;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;  // threads that have yet to join the current loop
  int running_ ABSL_GUARDED_BY(mu_) = 0;  // threads that have not finished the current loop
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  const Body* body_ ABSL_GUARDED_BY(mu_) = nullptr;

  std::vector<std::jthread> threads_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_THREAD_POOL_H_

// A fixed team of threads for the CPU kernels.
#ifndef MERGANSER_WORKER_ENGINE_THREAD_TEAM_H_
#define MERGANSER_WORKER_ENGINE_THREAD_TEAM_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace merganser {

// Owns threads-1 threads; the caller of For is the team's first member. A member that has nothing
// to do looks for work for some microseconds and then sleeps, so short gaps between calls cost no
// wake-up and an idle team costs nothing. Thread-compatible: one For at a time, and no For inside a
// For.
class ThreadTeam {
 public:
  // REQUIRES: threads >= 1.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(index, member) once for each index in [0, count), on any member in 0 .. size()-1,
  // and returns when all calls have. Which member gets which index is open; bodies must not depend
  // on it. `body` must not throw.
  void For(int64_t count, absl::FunctionRef<void(int64_t index, int member)> body);

 private:
  using Body = absl::FunctionRef<void(int64_t, int)>;
  void Work(int member);
  void Claim(int member);

  // Written by For before it advances epoch_ and read by members after they saw that: ordered by
  // epoch_.
  const Body* body_ = nullptr;
  int64_t count_ = 0;

  std::atomic<int64_t> next_{0};    // next index to be claimed
  std::atomic<int> busy_{0};        // members that have not finished the current epoch
  std::atomic<uint64_t> epoch_{0};  // advanced by each For
  std::atomic<bool> stopping_{false};
  absl::Mutex mu_;                     // guards nothing but the sleep
  std::vector<std::jthread> workers_;  // last: joined first
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_THREAD_TEAM_H_

#include "coordinator/rpc/call_pool.h"

#include <exception>
#include <utility>

#include "common/base/log.h"

namespace merganser {

CallPool::CallPool(int threads_max, int queue_max)
    : threads_max_(threads_max), queue_max_(static_cast<size_t>(queue_max)) {}

CallPool::~CallPool() { Stop(); }

bool CallPool::Run(std::function<void()> call) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return false;
  const bool may_grow = static_cast<int>(threads_.size()) < threads_max_;
  const auto free_threads = static_cast<size_t>(idle_) + (may_grow ? 1 : 0);
  if (queue_.size() >= free_threads + queue_max_) return false;
  queue_.push_back(std::move(call));
  if (queue_.size() > static_cast<size_t>(idle_) && may_grow) threads_.emplace_back([this] { Work(); });
  return true;
}

void CallPool::Work() {
  while (true) {
    std::function<void()> call;
    {
      absl::MutexLock lock(&mu_);
      ++idle_;
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !queue_.empty(); };
      mu_.Await(absl::Condition(&ready));
      --idle_;
      if (queue_.empty()) return;
      call = std::move(queue_.front());
      queue_.pop_front();
    }
    try {
      call();
    } catch (const std::exception& e) {
      MG_LOG(ERROR) << "call threw error=" << e.what();
    }
  }
}

void CallPool::Stop() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace merganser

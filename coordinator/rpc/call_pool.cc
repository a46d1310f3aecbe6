#include "coordinator/rpc/call_pool.h"

#include <exception>
#include <utility>

#include "common/base/log.h"

namespace merganser {

CallPool::CallPool(int threads_max, int queue_max, size_t bytes_max)
    : threads_max_(threads_max), queue_max_(static_cast<size_t>(queue_max)), bytes_max_(bytes_max) {}

CallPool::~CallPool() { Stop(); }

bool CallPool::Run(std::function<void()> call, size_t bytes) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return false;
  const bool may_grow = static_cast<int>(threads_.size()) < threads_max_;
  const auto free_threads = static_cast<size_t>(idle_) + (may_grow ? 1 : 0);
  if (queue_.size() >= free_threads + queue_max_ || bytes > bytes_max_ - bytes_) return false;
  bytes_ += bytes;
  queue_.push_back({std::move(call), bytes});
  if (queue_.size() > static_cast<size_t>(idle_) && may_grow) threads_.emplace_back([this] { Work(); });
  return true;
}

void CallPool::Work() {
  while (true) {
    Queued next;
    {
      absl::MutexLock lock(&mu_);
      ++idle_;
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !queue_.empty(); };
      mu_.Await(absl::Condition(&ready));
      --idle_;
      if (queue_.empty()) return;
      next = std::move(queue_.front());
      queue_.pop_front();
    }
    try {
      next.call();
    } catch (const std::exception& e) {
      MG_LOG(ERROR) << "call threw error=" << e.what();
    }
    next.call = nullptr;
    absl::MutexLock lock(&mu_);
    bytes_ -= next.bytes;
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

#include "worker/merge/thread_pool.h"

namespace merganser {

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) {
    threads_.emplace_back([this, i] { Loop(i); });
  }
}

ThreadPool::~ThreadPool() {
  absl::MutexLock lock(&mu_);
  ending_ = true;
}

void ThreadPool::For(int64_t count, Body body) {
  next_ = 0;
  if (!threads_.empty() && count > 1) {
    absl::MutexLock lock(&mu_);
    count_ = count;
    body_ = &body;
    waiting_ = running_ = static_cast<int>(threads_.size());
  }
  for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count;) body(0, i);
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &ThreadPool::AllDone));
  body_ = nullptr;
}

void ThreadPool::Loop(int thread) {
  absl::MutexLock lock(&mu_);
  // A quick thread may join one loop twice, in the place of a slow one; what counts is that every
  // join has ended (running_ == 0) before For() returns and `body` dies.
  while (true) {
    mu_.Await(absl::Condition(this, &ThreadPool::WorkOrEnd));
    if (ending_) return;
    --waiting_;
    const int64_t count = count_;
    const Body* body = body_;
    mu_.Unlock();
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count;) (*body)(thread, i);
    mu_.Lock();
    --running_;
  }
}

}  // namespace merganser

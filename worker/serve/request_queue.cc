#include "worker/serve/request_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

absl::Status Stopping() { return absl::UnavailableError("the server is stopping"); }

}  // namespace

absl::Status RequestQueue::Submit(const std::vector<std::shared_ptr<ServedRequest>>& requests) {
  absl::MutexLock lock(&mutex_);
  if (closed_) return Stopping();
  if (waiting_.size() + requests.size() > capacity_) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting_.size(), " of ", capacity_,
                                                     " completions wait, and the request asks for ", requests.size(),
                                                     "; try again later"));
  }
  waiting_.insert(waiting_.end(), requests.begin(), requests.end());
  return absl::OkStatus();
}

std::vector<std::shared_ptr<ServedRequest>> RequestQueue::Take(size_t room, bool wait, std::stop_token stop) {
  // The condition below is looked at again when the lock is released.
  const std::stop_callback wake(stop, [this] { absl::MutexLock lock(&mutex_); });
  std::vector<std::shared_ptr<ServedRequest>> taken;
  absl::MutexLock lock(&mutex_);
  if (wait) {
    const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !waiting_.empty() || stop.stop_requested(); };
    mutex_.Await(absl::Condition(&ready));
  }
  while (!waiting_.empty() && taken.size() < room) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return taken;
}

void RequestQueue::Close() {
  std::deque<std::shared_ptr<ServedRequest>> left;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    left.swap(waiting_);
  }
  for (const std::shared_ptr<ServedRequest>& request : left) request->OnEnd(Stopping());
}

size_t RequestQueue::size() const {
  absl::MutexLock lock(&mutex_);
  return waiting_.size();
}

}  // namespace merganser

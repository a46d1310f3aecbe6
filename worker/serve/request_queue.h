// Requests on their way from the connections' threads to the engine's.
#ifndef MERGANSER_WORKER_SERVE_REQUEST_QUEUE_H_
#define MERGANSER_WORKER_SERVE_REQUEST_QUEUE_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "worker/engine/serving_engine.h"

namespace merganser {

// First in, first out, and bounded. Thread-safe.
class RequestQueue : public RequestFeed {
 public:
  explicit RequestQueue(size_t capacity) : capacity_(capacity) {}

  // All of them, or none: ResourceExhausted naming the bound, Unavailable after Close.
  absl::Status Submit(const std::vector<std::shared_ptr<ServedRequest>>& requests);

  std::vector<std::shared_ptr<ServedRequest>> Take(size_t room, bool wait, std::stop_token stop) override;

  // Nothing is taken any more: what waits ends with Unavailable, as does what comes.
  void Close();

  size_t size() const;

 private:
  const size_t capacity_;
  mutable absl::Mutex mutex_;
  std::deque<std::shared_ptr<ServedRequest>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_REQUEST_QUEUE_H_

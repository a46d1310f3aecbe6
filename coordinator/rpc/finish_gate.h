// Orders a stream's StartRead and StartWrite before its one Finish, from any thread and without holding a lock over them:
// gRPC forbids to start an operation once Finish was called, and a lock that a reaction takes as well.
#ifndef MERGANSER_COORDINATOR_RPC_FINISH_GATE_H_
#define MERGANSER_COORDINATOR_RPC_FINISH_GATE_H_

#include <grpcpp/support/status.h>

#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace merganser {

// Thread-safe. The stream must outlive every call (callers hold a reference).
class FinishGate {
 public:
  // `finish`: the reactor's Finish; called once.
  explicit FinishGate(std::function<void(grpc::Status)> finish) : finish_(std::move(finish)) {}

  // Runs `start` (one Start... call) and returns true, or returns false if the stream is finished.
  template <typename F>
  bool Start(F start) {
    {
      absl::MutexLock lock(&mu_);
      if (status_.has_value()) return false;
      ++starting_;
    }
    start();
    CallIfReady(/*started=*/1);
    return true;
  }

  // The first call wins; the gRPC call is made once no Start runs.
  void Finish(grpc::Status status) {
    {
      absl::MutexLock lock(&mu_);
      if (status_.has_value()) return;
      status_ = std::move(status);
    }
    CallIfReady(/*started=*/0);
  }

  bool finished() {
    absl::MutexLock lock(&mu_);
    return status_.has_value();
  }

 private:
  void CallIfReady(int started) {
    grpc::Status status;
    {
      absl::MutexLock lock(&mu_);
      starting_ -= started;
      if (!status_.has_value() || starting_ > 0 || called_) return;
      called_ = true;
      status = *status_;
    }
    finish_(std::move(status));
  }

  const std::function<void(grpc::Status)> finish_;
  absl::Mutex mu_;
  int starting_ ABSL_GUARDED_BY(mu_) = 0;
  bool called_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<grpc::Status> status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_FINISH_GATE_H_

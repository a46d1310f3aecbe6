// A server-streaming call whose messages a thread of a pool writes one by one.
#ifndef MERGANSER_COORDINATOR_RPC_WRITE_STREAM_H_
#define MERGANSER_COORDINATOR_RPC_WRITE_STREAM_H_

#include <grpcpp/server_context.h>

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/error_details.h"
#include "coordinator/rpc/finish_gate.h"
#include "coordinator/rpc/service_context.h"

namespace merganser {

// A slow reader slows its own thread, and no queue grows. Keeps itself alive until gRPC and the thread are done with it.
template <typename Response>
class WriteStream : public grpc::ServerWriteReactor<Response>, public std::enable_shared_from_this<WriteStream<Response>> {
 public:
  // To be called once, right after it was made. Unless `allowed` is OK it ends with that; where no thread of `pool` is free,
  // with ResourceExhausted, `busy` and google.rpc.RetryInfo.
  void Start(CallPool* pool, const absl::Status& allowed, absl::string_view busy) {
    self_ = this->shared_from_this();
    if (!allowed.ok()) {
      End(allowed);
    } else if (!pool->Run([stream = self_] { stream->Run(); })) {
      absl::Status status = absl::UnavailableError("the coordinator is shutting down");
      if (!pool->stopped()) {
        status = absl::ResourceExhaustedError(busy);
        SetRetryDelay(&status, kBusyRetry);
      }
      End(status);
    }
  }

  // Ends the call with `status` unless it has ended. Any thread.
  void End(const absl::Status& status) {
    {
      absl::MutexLock lock(&mu_);
      if (!ended_) status_ = status;
      ended_ = true;
    }
    gate_.Finish(ToGrpc(status));
  }

 protected:
  // `services` outlives it. `method`: for metrics. A reader that takes nothing for `write_timeout` loses the call.
  WriteStream(const ServiceContext* services, std::string method, absl::Duration write_timeout = absl::InfiniteDuration())
      : services_(services),
        method_(std::move(method)),
        write_timeout_(write_timeout),
        start_(Clock::Real().Monotonic()),
        gate_([this](grpc::Status status) { this->Finish(std::move(status)); }) {}

  // Writes everything; what it returns ends the call.
  virtual absl::Status Body() = 0;

  // False once the call is over.
  bool Write(Response message) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      if (ended_) return false;
      writing_ = true;
    }
    message_ = std::move(message);
    if (!gate_.Start([this] { this->StartWrite(&message_); })) return false;
    bool slow;
    {
      absl::MutexLock lock(&mu_);
      const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !writing_ || ended_; };
      slow = !mu_.AwaitWithTimeout(absl::Condition(&done), write_timeout_);
      if (!slow) return !ended_;
    }
    End(absl::DeadlineExceededError(absl::StrCat("the client took nothing for ", absl::FormatDuration(write_timeout_))));
    return false;
  }
  bool ended() {
    absl::MutexLock lock(&mu_);
    return ended_;
  }
  const ServiceContext& services() const { return *services_; }

 private:
  void Run() {
    absl::Status status;
    try {
      status = Body();
    } catch (const std::exception& e) {
      MG_LOG(ERROR) << "stream threw method=" << method_ << " error=" << e.what();
      status = absl::InternalError("the coordinator failed at this call; its log says more");
    }
    End(status);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) ended_ = true;  // OnCancel finishes it
  }
  void OnCancel() override { End(absl::CancelledError("the client left")); }
  void OnDone() override {
    absl::Status status;
    {
      absl::MutexLock lock(&mu_);
      ended_ = true;
      status = status_;
    }
    Observe(*services_, method_, status, start_);
    self_.reset();  // last: may delete this
  }

  // Constant after construction.
  const ServiceContext* const services_;
  const std::string method_;
  const absl::Duration write_timeout_;
  const absl::Duration start_;

  FinishGate gate_;
  std::shared_ptr<WriteStream> self_;  // gRPC's reference, until OnDone
  Response message_;                   // being written

  absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_WRITE_STREAM_H_

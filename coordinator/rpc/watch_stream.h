// One WatchJob call.
#ifndef MERGANSER_COORDINATOR_RPC_WATCH_STREAM_H_
#define MERGANSER_COORDINATOR_RPC_WATCH_STREAM_H_

#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/rpc/finish_gate.h"
#include "coordinator/rpc/service_context.h"
#include "merganser/v1/job_service.pb.h"

namespace merganser {

// A pool's thread waits for events and writes them one by one, so a slow reader slows its own thread and no queue grows.
// Keeps itself alive until gRPC and the thread are done with it.
class WatchStream final : public grpc::ServerWriteReactor<v1::WatchJobResponse>,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  // Starts it on a thread of `watchers`; ResourceExhausted to the client when none is free. `services` outlives it.
  static std::shared_ptr<WatchStream> Start(const ServiceContext* services, CallPool* watchers,
                                            grpc::CallbackServerContext* context, const v1::WatchJobRequest& request);

  // Use Start.
  WatchStream(const ServiceContext* services, const v1::WatchJobRequest& request);

  // Ends the call with `status` unless it has ended. Any thread.
  void End(const absl::Status& status);

 private:
  // Waits at most so long for events before it looks whether the client is still there.
  static constexpr absl::Duration kPoll = absl::Milliseconds(500);

  void Run();
  absl::Status Watch();
  // False once the call is over.
  bool Write(v1::WatchJobResponse message);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Constant after construction.
  const ServiceContext* const services_;
  const std::string job_;
  const int64_t after_seq_;
  const absl::Duration start_;

  FinishGate gate_;
  std::shared_ptr<WatchStream> self_;  // gRPC's reference, until OnDone
  v1::WatchJobResponse message_;       // being written

  absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_WATCH_STREAM_H_

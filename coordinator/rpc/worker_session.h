// One worker's Session stream, and the link through which the job manager reaches that worker.
#ifndef MERGANSER_COORDINATOR_RPC_WORKER_SESSION_H_
#define MERGANSER_COORDINATOR_RPC_WORKER_SESSION_H_

#include <grpcpp/server_context.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/rpc/finish_gate.h"
#include "coordinator/rpc/service_context.h"
#include "merganser/v1/worker_service.pb.h"

namespace merganser {

struct SessionOptions {
  absl::Duration heartbeat_interval = absl::Seconds(5);  // told to the worker
  absl::Duration lease = absl::Seconds(30);              // told to the worker
};

// Messages are handled one after another on the pool; the next one is read when the last is done. Writes wait in a bounded
// queue: a worker that reads too slowly loses its session (not its leases) and comes back. A draining worker that says it
// runs nothing and then ends the stream is gone; any other end leaves its leases running. Keeps itself alive until gRPC
// and the job manager are done with it.
class WorkerSession final : public grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>,
                            public WorkerLink,
                            public std::enable_shared_from_this<WorkerSession> {
 public:
  static constexpr size_t kWritesMax = 256;  // an assignment has a few kilobytes
  // What is kept of a worker as long as it is known; there may be kSessionsMax of them.
  static constexpr size_t kTextMax = 256;     // characters of its id, name, version and device, and of a phase
  static constexpr int kRunningMax = 10'000;  // attempts in one message

  // `services` and `pool` outlive it.
  static std::shared_ptr<WorkerSession> Start(const ServiceContext* services, CallPool* pool, const SessionOptions& options,
                                              grpc::CallbackServerContext* context);
  // Use Start.
  WorkerSession(const ServiceContext* services, CallPool* pool, const SessionOptions& options);

  // Ends the call with `status` unless it has ended. Any thread.
  void End(const absl::Status& status);

  // WorkerLink.
  void Assign(const Assignment& assignment) override;
  void Cancel(const AttemptId& id) override;
  void Drain() override;
  void Acknowledge(const std::vector<RunningAttempt>& unknown) override;
  void GoAway(absl::Duration retry_after) override;

 private:
  void Send(v1::SessionResponse message, bool last = false);
  // Runs `step` on the pool; ends the call if the pool takes nothing more.
  void RunOnPool(void (WorkerSession::*step)());
  void Handle();      // incoming_
  void Disconnect();  // the client's end
  absl::Status HandleHello(const v1::Hello& hello);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Constant after construction.
  const ServiceContext* const services_;
  CallPool* const pool_;
  const SessionOptions options_;
  const absl::Duration start_;

  FinishGate gate_;
  std::shared_ptr<WorkerSession> self_;  // gRPC's reference, until OnDone

  // Of the one message that is read or handled.
  v1::SessionRequest incoming_;
  std::string worker_id_;  // "" before Hello
  bool goodbye_ = false;

  absl::Mutex mu_;
  std::deque<v1::SessionResponse> writes_ ABSL_GUARDED_BY(mu_);  // the front one is being written
  bool last_queued_ ABSL_GUARDED_BY(mu_) = false;                // nothing may follow; then the call ends
  std::string last_job_ ABSL_GUARDED_BY(mu_);                    // that the worker knows, and what it knows of it
  std::shared_ptr<const JobSpec> last_spec_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_WORKER_SESSION_H_

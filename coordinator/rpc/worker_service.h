// WorkerService over a JobManager.
#ifndef MERGANSER_COORDINATOR_RPC_WORKER_SERVICE_H_
#define MERGANSER_COORDINATOR_RPC_WORKER_SERVICE_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/rpc/checkpoint_share.h"
#include "coordinator/rpc/service_context.h"
#include "coordinator/rpc/worker_session.h"
#include "merganser/v1/worker_service.grpc.pb.h"

namespace merganser {

// Thread-safe. Role: worker.
class WorkerService final : public v1::WorkerService::CallbackService {
 public:
  static constexpr int kSessionsMax = 10'000;

  // `services` outlives it. `threads`: for messages of sessions. `transfers_max`: checkpoint files read at once, a thread
  // each.
  WorkerService(const ServiceContext* services, const SessionOptions& options, int threads, int transfers_max);
  ~WorkerService() override;

  // Ends every session and transfer with Unavailable. Further ones are refused.
  void Shutdown();

  grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>* Session(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ReportAttempt(grpc::CallbackServerContext* context, const v1::ReportAttemptRequest* request,
                                          v1::ReportAttemptResponse* response) override;
  grpc::ServerUnaryReactor* ListCheckpointFiles(grpc::CallbackServerContext* context,
                                                const v1::ListCheckpointFilesRequest* request,
                                                v1::ListCheckpointFilesResponse* response) override;
  grpc::ServerWriteReactor<v1::ReadCheckpointFileResponse>* ReadCheckpointFile(
      grpc::CallbackServerContext* context, const v1::ReadCheckpointFileRequest* request) override;

 private:
  const ServiceContext* const services_;
  const SessionOptions options_;
  CallPool pool_;
  CallPool transfers_pool_;

  absl::Mutex mu_;
  std::vector<std::weak_ptr<WorkerSession>> sessions_ ABSL_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<CheckpointStream>> transfers_ ABSL_GUARDED_BY(mu_);
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_WORKER_SERVICE_H_

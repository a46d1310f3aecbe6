// The coordinator's gRPC servers: one port for users, one for workers.
#ifndef MERGANSER_COORDINATOR_RPC_SERVER_H_
#define MERGANSER_COORDINATOR_RPC_SERVER_H_

#include <grpcpp/server.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/authorize.h"
#include "common/rpc/credentials.h"
#include "coordinator/rpc/checkpoint_share.h"
#include "coordinator/rpc/fleet_service.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/rate_limiter.h"
#include "coordinator/rpc/service_context.h"
#include "coordinator/rpc/worker_service.h"

namespace merganser {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";         // JobService, FleetService; port 0 chooses a free one
  std::string worker_listen = "127.0.0.1:50052";  // WorkerService
  ServerSecurity security;
  std::optional<bool> reflection;  // on the user port; unset: where that is loopback
  SessionOptions session;
  int call_threads = 16;    // unary calls in work; 10'000 more may wait
  int session_threads = 8;  // messages of sessions in work
  int watchers_max = 256;   // WatchJob calls, a thread each
  // Calls a second of one client, RateLimiter::kBurstSeconds' worth at once; 0: no bound. Workers may all have one token.
  double client_rate = 500;
  double worker_rate = 20'000;
  std::string store_uri;  // shown by GetServerInfo
  CheckpointShareOptions share;
};

// Thread-safe.
class Server {
 public:
  // Listens at once; health says NOT_SERVING until SetServing(true). `manager`, `records` and `observer` (may be null)
  // outlive the server. InvalidArgument as MakeServerCredentials and Authorizer::Create; Unavailable: a port is taken.
  static absl::StatusOr<std::unique_ptr<Server>> Start(JobManager* manager, RecordStore* records, RpcObserver* observer,
                                                       const ServerOptions& options);
  // Shutdown() with no grace.
  ~Server();

  int port() const { return port_; }
  int worker_port() const { return worker_port_; }

  // The health service's answer for "" and for each service.
  void SetServing(bool serving);

  // Refuses new calls, ends all streams with Unavailable, lets unary calls end for `grace`, then cancels them. To be
  // called after JobManager::Stop (which says goodbye to workers). Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  explicit Server(Authorizer authorizer) : authorizer_(std::move(authorizer)) {}

  absl::Status Listen(const ServerOptions& options);

  const Authorizer authorizer_;
  std::unique_ptr<RateLimiter> user_calls_;
  std::unique_ptr<RateLimiter> worker_calls_;
  ServiceContext services_;
  int port_ = 0;
  int worker_port_ = 0;
  std::unique_ptr<CallPool> calls_;
  std::unique_ptr<CheckpointShare> share_;
  std::unique_ptr<JobService> job_service_;
  std::unique_ptr<FleetService> fleet_service_;
  std::unique_ptr<WorkerService> worker_service_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // of both ports
  std::unique_ptr<grpc::Server> user_server_;
  std::unique_ptr<grpc::Server> worker_server_;
  bool shut_down_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_SERVER_H_

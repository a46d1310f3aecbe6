#include "coordinator/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/domain/limits.h"

namespace merganser {
namespace {

constexpr int kCallsQueueMax = 10'000;
constexpr int kWorkerMessageBytesMax = 16 << 20;  // a hello with many running attempts; results do not come this way
constexpr size_t kUserBuffersBytesMax = size_t{256} << 20;  // of gRPC, for all users
constexpr size_t kWorkerBuffersBytesMax = size_t{1} << 30;  // of gRPC, for all workers
constexpr size_t kCallsBytesMax = size_t{64} << 20;         // of the requests that wait or are in work

void SetKeepalive(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // Without it two coordinators could share a port and split its clients.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

absl::StatusOr<std::unique_ptr<grpc::Server>> Build(grpc::ServerBuilder* builder, const std::string& address,
                                                    const int* port) {
  std::unique_ptr<grpc::Server> server = builder->BuildAndStart();
  if (server == nullptr || *port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen at '", address, "': the port is taken or not ours"));
  }
  return server;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(JobManager* manager, RecordStore* records, RpcObserver* observer,
                                                      const ServerOptions& options) {
  MG_ASSIGN_OR_RETURN(Authorizer authorizer, Authorizer::Create(options.security));
  std::unique_ptr<Server> server(new Server(std::move(authorizer)));
  server->calls_ = std::make_unique<CallPool>(options.call_threads, kCallsQueueMax, kCallsBytesMax);
  server->share_ = std::make_unique<CheckpointShare>(manager, options.share);
  server->user_calls_ = std::make_unique<RateLimiter>(options.client_rate);
  server->worker_calls_ = std::make_unique<RateLimiter>(options.worker_rate);
  server->services_ = {.manager = manager,
                       .records = records,
                       .authorizer = &server->authorizer_,
                       .observer = observer,
                       .calls = server->calls_.get(),
                       .store_uri = options.store_uri,
                       .share = server->share_.get(),
                       .user_calls = server->user_calls_.get(),
                       .worker_calls = server->worker_calls_.get()};
  server->job_service_ = std::make_unique<JobService>(&server->services_, options.watchers_max);
  server->fleet_service_ = std::make_unique<FleetService>(&server->services_);
  server->worker_service_ = std::make_unique<WorkerService>(&server->services_, options.session, options.session_threads,
                                                            options.share.streams_max);
  MG_RETURN_IF_ERROR(server->Listen(options));
  server->SetServing(false);
  return server;
}

absl::Status Server::Listen(const ServerOptions& options) {
  grpc::EnableDefaultHealthCheckService(true);
  MG_ASSIGN_OR_RETURN(credentials_, MakeServerCredentials({options.listen, options.worker_listen}, options.security));
  static std::once_flag reflection_once;
  if (options.reflection.value_or(IsLoopback(options.listen))) {
    // For the whole process and for good, which is as gRPC wants it.
    std::call_once(reflection_once, [] { grpc::reflection::InitProtoReflectionServerBuilderPlugin(); });
  }
  grpc::ResourceQuota user_quota("merganser users"), worker_quota("merganser workers");
  user_quota.Resize(kUserBuffersBytesMax);
  worker_quota.Resize(kWorkerBuffersBytesMax);

  grpc::ServerBuilder user;
  user.AddListeningPort(options.listen, credentials_, &port_);
  user.RegisterService(job_service_.get());
  user.RegisterService(fleet_service_.get());
  user.SetMaxReceiveMessageSize(limits::kRequestBytesMax);
  user.SetResourceQuota(user_quota);
  SetKeepalive(&user);
  MG_ASSIGN_OR_RETURN(user_server_, Build(&user, options.listen, &port_));

  grpc::ServerBuilder worker;
  worker.AddListeningPort(options.worker_listen, credentials_, &worker_port_);
  worker.RegisterService(worker_service_.get());
  worker.SetMaxReceiveMessageSize(kWorkerMessageBytesMax);
  worker.SetResourceQuota(worker_quota);
  SetKeepalive(&worker);
  MG_ASSIGN_OR_RETURN(worker_server_, Build(&worker, options.worker_listen, &worker_port_));
  return absl::OkStatus();
}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

void Server::SetServing(bool serving) {
  for (grpc::Server* server : {user_server_.get(), worker_server_.get()}) {
    if (server == nullptr || server->GetHealthCheckService() == nullptr) continue;
    auto* const health = server->GetHealthCheckService();
    health->SetServingStatus(serving);  // ""
    for (const char* name : {"merganser.v1.JobService", "merganser.v1.FleetService", "merganser.v1.WorkerService"}) {
      health->SetServingStatus(name, serving);
    }
  }
}

void Server::Shutdown(absl::Duration grace) {
  if (std::exchange(shut_down_, true)) return;
  SetServing(false);
  const auto deadline = absl::ToChronoTime(absl::Now() + grace);
  // grpc::Server::Shutdown refuses new calls first and returns when the last call ended, deadline or not: a stream that we
  // do not finish would hang it. So it runs on threads of its own while all streams are ended here.
  std::vector<std::thread> closing;
  for (grpc::Server* server : {user_server_.get(), worker_server_.get()}) {
    if (server != nullptr) closing.emplace_back([server, deadline] { server->Shutdown(deadline); });
  }
  job_service_->Shutdown();
  worker_service_->Shutdown();
  calls_->Stop();
  for (std::thread& thread : closing) thread.join();
}

}  // namespace merganser

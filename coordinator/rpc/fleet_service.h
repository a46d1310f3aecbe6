// FleetService over a JobManager.
#ifndef MERGANSER_COORDINATOR_RPC_FLEET_SERVICE_H_
#define MERGANSER_COORDINATOR_RPC_FLEET_SERVICE_H_

#include "absl/time/time.h"
#include "coordinator/rpc/service_context.h"
#include "merganser/v1/fleet_service.grpc.pb.h"

namespace merganser {

// Thread-safe. Roles: viewer for reads, admin for what is done to workers.
class FleetService final : public v1::FleetService::CallbackService {
 public:
  // `services` outlives it.
  explicit FleetService(const ServiceContext* services);

  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context, const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext* context, const v1::DrainWorkerRequest* request,
                                        v1::DrainWorkerResponse* response) override;
  grpc::ServerUnaryReactor* QuarantineWorker(grpc::CallbackServerContext* context,
                                             const v1::QuarantineWorkerRequest* request,
                                             v1::QuarantineWorkerResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseWorker(grpc::CallbackServerContext* context, const v1::ReleaseWorkerRequest* request,
                                          v1::ReleaseWorkerResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context, const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

 private:
  const ServiceContext* const services_;
  const absl::Time start_time_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_FLEET_SERVICE_H_

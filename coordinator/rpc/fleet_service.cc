#include "coordinator/rpc/fleet_service.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/codec/time_codec.h"
#include "common/rpc/dispatch_codec.h"

namespace merganser {
namespace {

constexpr size_t kReasonMax = 500;  // of a quarantine

}  // namespace

FleetService::FleetService(const ServiceContext* services) : services_(services), start_time_(Clock::Real().Now()) {}

grpc::ServerUnaryReactor* FleetService::ListWorkers(grpc::CallbackServerContext* context,
                                                    const v1::ListWorkersRequest* request,
                                                    v1::ListWorkersResponse* response) {
  return RunUnary(*services_, context, *request, "ListWorkers", Role::kViewer, [this, response]() -> absl::Status {
    MG_ASSIGN_OR_RETURN(const std::vector<WorkerStatus> workers, services_->manager->ListWorkers());
    for (const WorkerStatus& worker : workers) *response->add_workers() = ToProto(worker);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* FleetService::DrainWorker(grpc::CallbackServerContext* context,
                                                    const v1::DrainWorkerRequest* request,
                                                    v1::DrainWorkerResponse* /*response*/) {
  return RunUnary(*services_, context, *request, "DrainWorker", Role::kAdmin, [this, request](const std::string& who) {
    return services_->manager->DrainWorker(request->worker(), who);
  });
}

grpc::ServerUnaryReactor* FleetService::QuarantineWorker(grpc::CallbackServerContext* context,
                                                         const v1::QuarantineWorkerRequest* request,
                                                         v1::QuarantineWorkerResponse* /*response*/) {
  return RunUnary(*services_, context, *request, "QuarantineWorker", Role::kAdmin,
                  [this, request](const std::string& who) -> absl::Status {
                    if (request->reason().size() > kReasonMax) {
                      return absl::InvalidArgumentError(
                          absl::StrCat("reason: ", request->reason().size(), " bytes, more than ", kReasonMax));
                    }
                    const absl::Duration time =
                        request->has_duration() ? FromProto(request->duration()) : absl::InfiniteDuration();
                    return services_->manager->QuarantineWorker(request->worker(), time, request->reason(), who);
                  });
}

grpc::ServerUnaryReactor* FleetService::ReleaseWorker(grpc::CallbackServerContext* context,
                                                      const v1::ReleaseWorkerRequest* request,
                                                      v1::ReleaseWorkerResponse* /*response*/) {
  return RunUnary(*services_, context, *request, "ReleaseWorker", Role::kAdmin, [this, request](const std::string& who) {
    return services_->manager->ReleaseWorker(request->worker(), who);
  });
}

grpc::ServerUnaryReactor* FleetService::GetServerInfo(grpc::CallbackServerContext* context,
                                                      const v1::GetServerInfoRequest* request,
                                                      v1::GetServerInfoResponse* response) {
  return RunUnary(*services_, context, *request, "GetServerInfo", Role::kViewer, [this, response] {
    response->set_version(kVersion);
    response->set_store(services_->store_uri);
    response->set_epoch(services_->manager->epoch());
    *response->mutable_start_time() = ToProto(start_time_);
    return absl::OkStatus();
  });
}

}  // namespace merganser

// What every service of this coordinator works with, and how a unary call runs.
#ifndef MERGANSER_COORDINATOR_RPC_SERVICE_CONTEXT_H_
#define MERGANSER_COORDINATOR_RPC_SERVICE_CONTEXT_H_

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>

#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/rpc/authorize.h"
#include "common/rpc/error_details.h"
#include "common/rpc/status_codec.h"
#include "common/store/results_store.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/rpc/call_pool.h"
#include "coordinator/rpc/rate_limiter.h"

namespace merganser {

class CheckpointShare;  // checkpoint_share.h

// Sees every call that ends, for metrics. Any thread; must not block.
class RpcObserver {
 public:
  virtual ~RpcObserver() = default;
  // `method`: "CreateJob"; streams count when they end.
  virtual void OnCall(absl::string_view method, absl::StatusCode code, absl::Duration took) = 0;
  // The call is refused because its client makes too many; OnCall follows.
  virtual void OnRateLimited(absl::string_view /*method*/) {}
};

// What a client is told to wait where calls or streams are too many.
inline constexpr absl::Duration kBusyRetry = absl::Seconds(1);

// All pointers outlive the services; observer may be null.
struct ServiceContext {
  JobManager* manager = nullptr;
  RecordStore* records = nullptr;  // read only
  const Authorizer* authorizer = nullptr;
  RpcObserver* observer = nullptr;
  CallPool* calls = nullptr;
  std::string store_uri;
  CheckpointShare* share = nullptr;
  RateLimiter* user_calls = nullptr;
  RateLimiter* worker_calls = nullptr;  // of role kWorker
};

// Whether the call may go on: Authorizer::Authorize, and within its client's rate: of who calls or, where nothing tells,
// of the host that the call comes from; a call that is not authorized counts for its host. ResourceExhausted with
// google.rpc.RetryInfo: too many calls.
absl::Status Admit(const ServiceContext& services, const grpc::ServerContextBase& context, absl::string_view method,
                   Role role, std::string* who = nullptr);

inline void Observe(const ServiceContext& services, absl::string_view method, const absl::Status& status,
                    absl::Duration start) {
  if (services.observer == nullptr) return;
  services.observer->OnCall(method, status.code(), Clock::Real().Monotonic() - start);
}

// Admits the call of `request`, which lives as long as it, runs `handler` (absl::Status(), or absl::Status(const
// std::string& who), for the log) on the pool and finishes the call with its status. Nothing the handler throws escapes.
template <typename F>
grpc::ServerUnaryReactor* RunUnary(const ServiceContext& services, grpc::CallbackServerContext* context,
                                   const google::protobuf::Message& request, absl::string_view method, Role role,
                                   F handler) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::Duration start = Clock::Real().Monotonic();
  std::string who;
  absl::Status status = Admit(services, *context, method, role, &who);
  if (status.ok()) {
    const bool runs = services.calls->Run(
        [&services, reactor, method, start, who, handler = std::move(handler)] {
          absl::Status result;
          try {
            if constexpr (std::is_invocable_v<const F&, const std::string&>) {
              result = handler(who);
            } else {
              result = handler();
            }
          } catch (const std::exception& e) {
            MG_LOG(ERROR) << "handler threw method=" << method << " error=" << e.what();
            result = absl::InternalError("the coordinator failed at this call; its log says more");
          }
          Observe(services, method, result, start);
          BoundMessage(&result);
          AddFieldViolation(&result);
          reactor->Finish(ToGrpc(result));
        },
        request.ByteSizeLong());
    if (runs) return reactor;
    status = absl::ResourceExhaustedError("too many calls wait; try again");
    SetRetryDelay(&status, kBusyRetry);
  }
  Observe(services, method, status, start);
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_SERVICE_CONTEXT_H_

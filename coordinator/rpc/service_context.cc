#include "coordinator/rpc/service_context.h"

#include "absl/strings/str_cat.h"
#include "common/rpc/error_details.h"

namespace merganser {

absl::Status Admit(const ServiceContext& services, const grpc::ServerContextBase& context, absl::string_view method,
                   Role role, std::string* who) {
  std::string client;
  const absl::Status allowed = services.authorizer->Authorize(context, role, &client);
  if (who != nullptr) *who = client;
  if (client.empty()) client = std::string(HostOfPeer(context.peer()));
  RateLimiter& calls = role == Role::kWorker ? *services.worker_calls : *services.user_calls;
  const absl::Duration wait = calls.Take(client);
  if (wait <= absl::ZeroDuration()) return allowed;
  if (services.observer != nullptr) services.observer->OnRateLimited(method);
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "too many calls of one client; try again in ", absl::FormatDuration(absl::Ceil(wait, absl::Milliseconds(1)))));
  SetRetryDelay(&status, wait);
  return status;
}

}  // namespace merganser

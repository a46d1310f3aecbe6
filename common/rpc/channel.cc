#include "common/rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/rpc/authorize.h"

namespace merganser {
namespace {

constexpr int kReceiveBytesMax = 64 << 20;  // a candidate with its record

}  // namespace

void ClientChannel::Prepare(grpc::ClientContext* context, absl::Duration timeout) const {
  if (!token.empty()) context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
  if (timeout < absl::InfiniteDuration()) context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

absl::StatusOr<ClientChannel> CreateChannel(const std::string& address, const ClientSecurity& security) {
  ClientChannel result;
  MG_ASSIGN_OR_RETURN(auto credentials, MakeChannelCredentials(address, security));
  if (!security.token_file.empty()) {
    MG_ASSIGN_OR_RETURN(result.token, ReadClientToken(security.token_file));
  }
  grpc::ChannelArguments arguments;
  // Below the 30 s of common middleboxes; the server allows it (coordinator/rpc/server.cc).
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // No proxy of the environment ($http_proxy) knows the way to this machine, and $no_proxy is easily forgotten.
  if (IsLoopback(address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Callers do their own, jittered waits; the channel's must not be longer.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  // In fact what a connection may take, the TLS handshake included: seconds, where the coordinator's machine is busy.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  result.channel = grpc::CreateCustomChannel(address, credentials, arguments);
  return result;
}

}  // namespace merganser

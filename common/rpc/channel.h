// A client's way to a server: keepalive, message limits, credentials and token in one place.
#ifndef MERGANSER_COMMON_RPC_CHANNEL_H_
#define MERGANSER_COMMON_RPC_CHANNEL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/credentials.h"

namespace merganser {

// Copyable; any thread.
struct ClientChannel {
  std::shared_ptr<grpc::Channel> channel;  // shared with the stubs made from it
  std::string token;                       // "" for none

  // To be called on every context before its call: adds the token and, unless infinite, the deadline.
  void Prepare(grpc::ClientContext* context, absl::Duration timeout) const;
};

// Does not connect yet. `address`: "host:port". A TCP connection of its own, so that bulk on one channel does not delay
// another. Errors as MakeChannelCredentials and ReadClientToken.
absl::StatusOr<ClientChannel> CreateChannel(const std::string& address, const ClientSecurity& security = {});

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_CHANNEL_H_

// The flags that say where jobs are (--server, --store), and the connection or reader that they lead to.
#ifndef MERGANSER_CLIENT_CONNECTION_H_
#define MERGANSER_CLIENT_CONNECTION_H_

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/job_reader.h"
#include "common/rpc/channel.h"

namespace merganser {

struct ConnectionOptions {
  std::string server = "127.0.0.1:50051";
  std::string store;  // reading verbs only; wins over `server`
  ClientSecurity security;
};

// --server (MERGANSER_SERVER), --ca, --cert, --key, --token-file and, for verbs that only read,
// --store.
void AddConnectionOptions(CLI::App* verb, ConnectionOptions* options, bool with_store);

// To the coordinator that leads, of those that `server` names. Where it names several and none leads: Unavailable
// (Unauthenticated, PermissionDenied if one says so) with each address and what it said. A single one is not asked: its
// answer to a call says why.
absl::StatusOr<ClientChannel> Connect(const ConnectionOptions& options);
absl::StatusOr<std::unique_ptr<JobReader>> OpenJobReader(const ConnectionOptions& options);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_CONNECTION_H_

#include "client/connection.h"

#include <utility>

#include "client/server_jobs.h"
#include "client/store_jobs.h"
#include "common/base/status_macros.h"

namespace merganser {

void AddConnectionOptions(CLI::App* verb, ConnectionOptions* options, bool with_store) {
  verb->add_option("--server", options->server, "Coordinator, HOST:PORT")
      ->envname("MERGANSER_SERVER")
      ->capture_default_str();
  verb->add_option("--ca", options->security.tls_ca, "PEM file: connect by TLS, trust servers signed by it");
  verb->add_option("--cert", options->security.tls_cert, "PEM file: this client's certificate (with --key)");
  verb->add_option("--key", options->security.tls_key, "PEM file: its private key");
  verb->add_option("--token-file", options->security.token_file, "File whose first line is the access token");
  if (with_store) {
    verb->add_option("--store", options->store, "Read a store instead of asking a coordinator: sqlite:out/my-job/run.db");
  }
}

absl::StatusOr<ClientChannel> Connect(const ConnectionOptions& options) {
  return CreateChannel(options.server, options.security);
}

absl::StatusOr<std::unique_ptr<JobReader>> OpenJobReader(const ConnectionOptions& options) {
  if (!options.store.empty()) return StoreJobs::Open(options.store);
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options));
  return std::unique_ptr<JobReader>(std::make_unique<ServerJobs>(std::move(channel), options.server));
}

}  // namespace merganser

#include "client/connection.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/server_jobs.h"
#include "client/store_jobs.h"
#include "common/base/status_macros.h"
#include "common/cli/address_check.h"
#include "common/rpc/error_details.h"
#include "common/rpc/status_codec.h"
#include "merganser/v1/fleet_service.grpc.pb.h"

namespace merganser {
namespace {

constexpr absl::Duration kLeaderProbe = absl::Seconds(3);  // a frozen coordinator does not answer

}  // namespace

void AddConnectionOptions(CLI::App* verb, ConnectionOptions* options, bool with_store) {
  verb->add_option("--server", options->server, "Coordinator, HOST:PORT; with stand-bys, all of them separated by commas")
      ->envname("MERGANSER_SERVER")
      ->capture_default_str();
  verb->add_option("--ca", options->security.tls_ca, "PEM file: connect by TLS, trust servers signed by it");
  verb->add_option("--cert", options->security.tls_cert, "PEM file: this client's certificate (with --key)");
  verb->add_option("--key", options->security.tls_key, "PEM file: its private key");
  verb->add_option("--token-file", options->security.token_file, "File whose first line is the access token");
  if (with_store) {
    verb->add_option("--store", options->store,
                     "Read a store instead of asking a coordinator: the folder of a run, or sqlite:FILE, redis://HOST:PORT");
  }
}

namespace {

// OK if it leads; a stand-by answers Unavailable.
absl::Status AskWhetherItLeads(const ClientChannel& channel) {
  const absl::Time deadline = absl::Now() + kLeaderProbe;
  while (true) {
    grpc::ClientContext context;
    channel.Prepare(&context, deadline - absl::Now());
    v1::ListWorkersResponse response;
    const absl::Status status = FromGrpc(v1::FleetService::NewStub(channel.channel)->ListWorkers(&context, {}, &response));
    const std::optional<absl::Duration> wait = RetryDelayOf(status);  // it was called too often just now
    if (!wait.has_value() || absl::Now() + *wait >= deadline) return status;
    absl::SleepFor(*wait);
  }
}

// `stand_by`: one that answers where none leads; it may lead soon.
absl::StatusOr<ClientChannel> FindLeader(const ConnectionOptions& options, std::optional<ClientChannel>* stand_by) {
  const std::vector<std::string> addresses = absl::StrSplit(options.server, ',', absl::SkipEmpty());
  if (addresses.empty()) return absl::InvalidArgumentError("--server: names no coordinator");
  std::vector<ClientChannel> channels;
  for (const std::string& address : addresses) {
    if (const std::string wrong = AddressError(address); !wrong.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--server: ", wrong));
    }
    MG_ASSIGN_OR_RETURN(ClientChannel channel, CreateChannel(address, options.security));
    channels.push_back(std::move(channel));
  }
  if (channels.size() == 1) return channels[0];
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  std::vector<std::string> answers;
  for (size_t i = 0; i < channels.size(); ++i) {
    const absl::Status status = AskWhetherItLeads(channels[i]);
    if (status.ok()) return channels[i];
    if (absl::IsUnavailable(status) && channels[i].channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY) {
      *stand_by = channels[i];
    }
    // Who is refused is told so, whatever the others' reasons are.
    if (absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status)) code = status.code();
    answers.push_back(absl::IsDeadlineExceeded(status)
                          ? absl::StrCat(addresses[i], ": no answer within ", absl::FormatDuration(kLeaderProbe))
                          : absl::StrCat(addresses[i], ": ", status.message()));
  }
  return absl::Status(code, absl::StrCat("none of the coordinators leads: ", absl::StrJoin(answers, "; ")));
}

}  // namespace

absl::StatusOr<ClientChannel> Connect(const ConnectionOptions& options) {
  std::optional<ClientChannel> stand_by;
  return FindLeader(options, &stand_by);
}

absl::StatusOr<std::unique_ptr<JobReader>> OpenJobReader(const ConnectionOptions& options) {
  if (!options.store.empty()) return StoreJobs::Open(options.store);
  std::optional<ClientChannel> stand_by;
  absl::StatusOr<ClientChannel> channel = FindLeader(options, &stand_by);
  // Who follows a job waits for it to lead; others are told that it does not.
  if (absl::IsUnavailable(channel.status()) && stand_by.has_value()) channel = *std::move(stand_by);
  MG_RETURN_IF_ERROR(channel.status());
  return std::unique_ptr<JobReader>(
      std::make_unique<ServerJobs>(*std::move(channel), options.server, [options] { return Connect(options); }));
}

}  // namespace merganser

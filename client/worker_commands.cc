// workers, drain, quarantine, release: a coordinator's workers.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/connection.h"
#include "client/exit_code.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/server_jobs.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/codec/time_codec.h"
#include "common/rpc/duration_flag.h"
#include "merganser/v1/fleet_service.grpc.pb.h"

namespace merganser {
namespace {

using Stub = v1::FleetService::StubInterface;

struct WorkerOptions {
  ConnectionOptions connection;
  std::string worker, reason, time, format = "table";
};

absl::StatusOr<int> Workers(const WorkerOptions& options) {
  MG_ASSIGN_OR_RETURN(const ClientChannel channel, Connect(options.connection));
  const auto stub = v1::FleetService::NewStub(channel.channel);
  MG_ASSIGN_OR_RETURN(
      const v1::ListWorkersResponse response,
      CallServer<Stub>(channel, options.connection.server, stub.get(), &Stub::ListWorkers, v1::ListWorkersRequest()));
  if (PrintMessage(options.format, response)) return exit_code::kOk;
  // "ahead": taken from the queue before a slot is free.
  Table table(
      {"worker", "name", "device", "state", ">running", "?>ahead", ">finished", ">failed", "?connected", "?version"});
  for (const v1::Worker& w : response.workers()) {
    const int running = std::min(w.running_size(), w.slots());
    table.Add({w.id(), w.name(), w.device(), w.state(), absl::StrCat(running, "/", w.slots()),
               absl::StrCat(w.running_size() - running), absl::StrCat(w.finished()), absl::StrCat(w.failed()),
               w.has_connect_time() ? TimeText(FromProto(w.connect_time())) : "-", w.version()});
  }
  Print(table.Render(OutputWidth()));
  for (const v1::Worker& w : response.workers()) {
    if (w.quarantine().empty()) continue;
    const std::string until = w.has_quarantine_end_time()
                                  ? absl::StrCat("until ", TimeText(FromProto(w.quarantine_end_time())))
                                  : std::string("until it is released");
    std::fputs(absl::StrCat(w.id(), " is quarantined ", until, ": ", w.quarantine(), "\n").c_str(), stderr);
  }
  if (table.empty()) std::fputs("no worker is connected; `merganser-worker --coordinator HOST:PORT` adds one\n", stderr);
  return exit_code::kOk;
}

absl::StatusOr<int> Drain(const WorkerOptions& options) {
  MG_ASSIGN_OR_RETURN(const ClientChannel channel, Connect(options.connection));
  const auto stub = v1::FleetService::NewStub(channel.channel);
  v1::DrainWorkerRequest request;
  request.set_worker(options.worker);
  MG_RETURN_IF_ERROR(CallServer<Stub>(channel, options.connection.server, stub.get(), &Stub::DrainWorker, request).status());
  Print(absl::StrCat(options.worker, " finishes what it runs and gets no more\n"));
  return exit_code::kOk;
}

absl::StatusOr<int> Quarantine(const WorkerOptions& options) {
  v1::QuarantineWorkerRequest request;
  request.set_worker(options.worker);
  request.set_reason(options.reason);
  absl::Duration time = absl::InfiniteDuration();
  if (!options.time.empty()) {
    if (!ParseDurationFlag(options.time, &time) || time <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError(absl::StrCat("--for: '", options.time, "' is not a time such as 90s, 30m or 2h"));
    }
    *request.mutable_duration() = ToProto(time);
  }
  MG_ASSIGN_OR_RETURN(const ClientChannel channel, Connect(options.connection));
  const auto stub = v1::FleetService::NewStub(channel.channel);
  MG_RETURN_IF_ERROR(
      CallServer<Stub>(channel, options.connection.server, stub.get(), &Stub::QuarantineWorker, request).status());
  Print(absl::StrCat(options.worker, " gets no work ",
                     options.time.empty() ? "until it is released" : "for " + absl::FormatDuration(time), "\n"));
  return exit_code::kOk;
}

absl::StatusOr<int> Release(const WorkerOptions& options) {
  v1::ReleaseWorkerRequest request;
  request.set_worker(options.worker);
  MG_ASSIGN_OR_RETURN(const ClientChannel channel, Connect(options.connection));
  const auto stub = v1::FleetService::NewStub(channel.channel);
  MG_RETURN_IF_ERROR(
      CallServer<Stub>(channel, options.connection.server, stub.get(), &Stub::ReleaseWorker, request).status());
  Print(absl::StrCat(options.worker, " gets work again\n"));
  return exit_code::kOk;
}

}  // namespace

void AddWorkerCommands(CLI::App& app, Action* chosen) {
  auto workers = std::make_shared<WorkerOptions>();
  CLI::App* verb = AddVerb(app, "workers", "Lists the workers of a coordinator", "  merganser workers -o json", workers,
                           &Workers, chosen);
  AddFormatOption(verb, &workers->format);
  AddConnectionOptions(verb, &workers->connection, false);

  auto drain = std::make_shared<WorkerOptions>();
  verb = AddVerb(app, "drain", "Lets a worker finish and gives it no more work", "  merganser drain WORKER", drain, &Drain,
                 chosen);
  verb->add_option("WORKER", drain->worker, "Its id or its name, as `merganser workers` lists them")->required();
  AddConnectionOptions(verb, &drain->connection, false);

  auto quarantine = std::make_shared<WorkerOptions>();
  verb = AddVerb(app, "quarantine", "Gives a worker no more work, without ending it",
                 "  merganser quarantine WORKER --for 2h --reason 'its fan'", quarantine, &Quarantine, chosen);
  verb->add_option("WORKER", quarantine->worker, "Its id or its name, as `merganser workers` lists them")->required();
  verb->add_option("--for", quarantine->time,
                   "How long: 90s, 30m, 2h (a plain number is seconds); default: until it is released")
      ->type_name("DURATION");
  verb->add_option("--reason", quarantine->reason, "Shown to others");
  AddConnectionOptions(verb, &quarantine->connection, false);

  auto release = std::make_shared<WorkerOptions>();
  verb = AddVerb(app, "release", "Ends a worker's quarantine, the coordinator's own too", "  merganser release WORKER",
                 release, &Release, chosen);
  verb->add_option("WORKER", release->worker, "Its id or its name, as `merganser workers` lists them")->required();
  AddConnectionOptions(verb, &release->connection, false);
}

}  // namespace merganser

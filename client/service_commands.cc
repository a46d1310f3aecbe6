// submit, cancel, workers, drain: what only a coordinator can do.
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/connection.h"
#include "client/exit_code.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/server_jobs.h"
#include "client/verb.h"
#include "client/watch.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/time_codec.h"
#include "common/config/job_file.h"
#include "merganser/v1/fleet_service.grpc.pb.h"

namespace merganser {
namespace {

struct SubmitOptions {
  ConnectionOptions connection;
  std::string job_file, request_id, format = "table";
  bool watch = false, wait = false, dry_run = false;
};

absl::StatusOr<int> Submit(const SubmitOptions& options) {
  MG_ASSIGN_OR_RETURN(const JobFile file, ReadJobFile(options.job_file, PathsAre::kOnWorkers));
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options.connection));
  ServerJobs server(std::move(channel), options.connection.server);
  v1::CreateJobRequest request;
  request.set_request_id(options.request_id.empty() ? RandomToken() : options.request_id);
  *request.mutable_spec() = ToProto(file.spec);
  request.set_validate_only(options.dry_run);
  const absl::StatusOr<v1::Job> job = server.CreateJob(request);
  if (absl::IsInvalidArgument(job.status())) return file.source.Locate(job.status());
  if (absl::IsUnavailable(job.status()) || absl::IsDeadlineExceeded(job.status())) {
    return absl::Status(job.status().code(),
                        absl::StrCat(job.status().message(), "; to repeat this submission without making a second job add ",
                                     "--request-id ", request.request_id()));
  }
  MG_RETURN_IF_ERROR(job.status());
  if (options.dry_run) {
    Print(absl::StrCat(file.spec.name, " is valid\n"));
    return exit_code::kOk;
  }
  if (!PrintMessage(options.format, *job)) Print(absl::StrCat(job->id(), "\n"));
  if (!options.watch && !options.wait) return exit_code::kOk;
  return WatchJob(server, job->id(), options.watch ? WatchDisplay::kProgress : WatchDisplay::kNothing);
}

struct CancelOptions {
  ConnectionOptions connection;
  std::string job, format = "table";
};

absl::StatusOr<int> Cancel(const CancelOptions& options) {
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options.connection));
  ServerJobs server(std::move(channel), options.connection.server);
  MG_ASSIGN_OR_RETURN(const v1::Job job, server.CancelJob(options.job));
  if (!PrintMessage(options.format, job)) Print(absl::StrCat(job.id(), " ", job.spec().name(), " is ", job.state(), "\n"));
  return exit_code::kOk;
}

struct WorkerOptions {
  ConnectionOptions connection;
  std::string worker, format = "table";
};

absl::StatusOr<int> Workers(const WorkerOptions& options) {
  MG_ASSIGN_OR_RETURN(const ClientChannel channel, Connect(options.connection));
  const auto stub = v1::FleetService::NewStub(channel.channel);
  MG_ASSIGN_OR_RETURN(
      const v1::ListWorkersResponse response,
      CallServer<v1::FleetService::StubInterface>(channel, options.connection.server, stub.get(),
                                                  &v1::FleetService::StubInterface::ListWorkers, v1::ListWorkersRequest()));
  if (PrintMessage(options.format, response)) return exit_code::kOk;
  Table table({"worker", "name", "device", "state", ">running", ">finished", ">failed", "connected", "version"});
  for (const v1::Worker& w : response.workers()) {
    table.Add({w.id(), w.name(), w.device(), w.state(), absl::StrCat(w.running_size(), "/", w.slots()),
               absl::StrCat(w.finished()), absl::StrCat(w.failed()), TimeText(FromProto(w.connect_time())), w.version()});
  }
  Print(table.Render());
  if (table.empty()) std::fputs("no worker is connected\n", stderr);
  return exit_code::kOk;
}

absl::StatusOr<int> Drain(const WorkerOptions& options) {
  MG_ASSIGN_OR_RETURN(const ClientChannel channel, Connect(options.connection));
  const auto stub = v1::FleetService::NewStub(channel.channel);
  v1::DrainWorkerRequest request;
  request.set_worker(options.worker);
  MG_RETURN_IF_ERROR(CallServer<v1::FleetService::StubInterface>(channel, options.connection.server, stub.get(),
                                                                 &v1::FleetService::StubInterface::DrainWorker, request)
                         .status());
  Print(absl::StrCat(options.worker, " finishes what it runs and gets no more\n"));
  return exit_code::kOk;
}

}  // namespace

void AddServiceCommands(CLI::App& app, Action* chosen) {
  auto submit = std::make_shared<SubmitOptions>();
  CLI::App* verb = AddVerb(app, "submit", "Gives a job to a coordinator and prints its id",
                           "  merganser submit job.yaml --watch\n  merganser submit job.yaml --server coordinator:50051",
                           submit, &Submit, chosen);
  verb->add_option("JOB.yaml", submit->job_file, "The job; an absolute path in it may be one that only the workers have")
      ->required();
  verb->add_flag("--watch", submit->watch, "Show progress until the job ends; exit 1 if it does not succeed");
  verb->add_flag("--wait", submit->wait, "The same, silently");
  verb->add_flag("--dry-run", submit->dry_run, "Only have the coordinator check it");
  verb->add_option("--request-id", submit->request_id, "The same id makes the same job, once");
  AddFormatOption(verb, &submit->format);
  AddConnectionOptions(verb, &submit->connection, /*with_store=*/false);

  auto cancel = std::make_shared<CancelOptions>();
  verb = AddVerb(app, "cancel", "Ends a job; what is finished stays", "  merganser cancel job-7", cancel, &Cancel, chosen);
  verb->add_option("JOB", cancel->job, "Id or name")->required();
  AddFormatOption(verb, &cancel->format);
  AddConnectionOptions(verb, &cancel->connection, false);

  auto workers = std::make_shared<WorkerOptions>();
  verb = AddVerb(app, "workers", "Lists the workers of a coordinator", "  merganser workers -o json", workers, &Workers,
                 chosen);
  AddFormatOption(verb, &workers->format);
  AddConnectionOptions(verb, &workers->connection, false);

  auto drain = std::make_shared<WorkerOptions>();
  verb = AddVerb(app, "drain", "Lets a worker finish and gives it no more work", "  merganser drain WORKER", drain, &Drain,
                 chosen);
  verb->add_option("WORKER", drain->worker, "Its id, as `merganser workers` lists it")->required();
  AddConnectionOptions(verb, &drain->connection, false);
}

}  // namespace merganser

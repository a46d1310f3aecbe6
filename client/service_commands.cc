// submit, cancel, pause, resume, update: what only a coordinator can do to jobs.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/connection.h"
#include "client/exit_code.h"
#include "client/job_input.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/server_jobs.h"
#include "client/verb.h"
#include "client/watch.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/cli/number_checks.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/time_codec.h"
#include "common/config/job_file.h"

namespace merganser {
namespace {

absl::StatusOr<absl::Duration> ParseTime(const char* option, const std::string& text) {
  absl::Duration time;
  if (absl::ParseDuration(text, &time) && time > absl::ZeroDuration()) return time;
  return absl::InvalidArgumentError(absl::StrCat(option, ": '", text, "' is not a time such as 90s, 30m or 2h"));
}

struct SubmitOptions {
  ConnectionOptions connection;
  JobInput job;
  std::string request_id, format = "table";
  bool watch = false, wait = false, dry_run = false;
};

absl::StatusOr<int> Submit(const SubmitOptions& options) {
  MG_ASSIGN_OR_RETURN(const JobFile file, ReadJobInput(options.job, PathsAre::kOnWorkers));
  for (const ModelRef& model : file.spec.models) {
    if (model.path[0] == '/') continue;
    std::fputs(
        absl::StrCat("note: models.", model.name, ".path: '", model.path, "' is no directory here, so it is a Hub id\n")
            .c_str(),
        stderr);
  }
  std::optional<Interrupt> interrupt;
  if (options.watch || options.wait) interrupt.emplace("detached; what was submitted goes on (`merganser jobs` lists it)");
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options.connection));
  ServerJobs server(std::move(channel), options.connection.server,
                    [connection = options.connection] { return Connect(connection); });
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
  if (!interrupt.has_value()) {
    if (DescribeTerminal(STDERR_FILENO).interactive) {
      std::fputs(absl::StrCat("`merganser watch ", job->id(), "` shows how it goes\n").c_str(), stderr);
    }
    return exit_code::kOk;
  }
  return WatchJob(server, *interrupt, job->id(), options.watch ? WatchDisplay::kProgress : WatchDisplay::kNothing);
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

absl::StatusOr<int> Pause(const CancelOptions& options) {
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options.connection));
  ServerJobs server(std::move(channel), options.connection.server);
  MG_ASSIGN_OR_RETURN(const v1::Job job, server.PauseJob(options.job));
  if (!PrintMessage(options.format, job)) {
    Print(absl::StrCat(job.id(), " ", job.spec().name(), " is paused; ", job.running(),
                       job.running() == 1 ? " candidate runs to its end\n" : " candidates run to their end\n"));
  }
  return exit_code::kOk;
}

absl::StatusOr<int> Resume(const CancelOptions& options) {
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options.connection));
  ServerJobs server(std::move(channel), options.connection.server);
  MG_ASSIGN_OR_RETURN(const v1::Job job, server.ResumeJob(options.job));
  if (!PrintMessage(options.format, job)) {
    Print(absl::StrCat(job.id(), " ", job.spec().name(), " goes on in ", job.state(), ", ", job.queued() + job.running(),
                       job.queued() + job.running() == 1 ? " candidate" : " candidates", " to be evaluated\n"));
  }
  return exit_code::kOk;
}

struct UpdateOptions {
  ConnectionOptions connection;
  std::string job, format = "table";
  std::optional<int64_t> candidates, generations, samples;
  std::optional<double> target, share;
  std::optional<int> max_attempts, priority, stage;
  std::string wall_time, gpu_time, attempt_timeout;
};

absl::StatusOr<int> Update(const UpdateOptions& options) {
  v1::UpdateJobRequest request;
  request.set_job(options.job);
  if (options.stage) request.set_stage(*options.stage - 1);
  v1::JobSpec* spec = request.mutable_spec();
  const auto change = [&](const char* field, bool named) {
    if (named) request.mutable_update_mask()->add_paths(field);
    return named;
  };
  if (change("budget.candidates", options.candidates.has_value()))
    spec->mutable_budget()->set_candidates(*options.candidates);
  if (change("budget.generations", options.generations.has_value())) {
    spec->mutable_budget()->set_generations(*options.generations);
  }
  if (change("budget.samples", options.samples.has_value())) spec->mutable_budget()->set_samples(*options.samples);
  if (change("budget.target", options.target.has_value())) spec->mutable_budget()->set_target(*options.target);
  if (change("max_attempts", options.max_attempts.has_value())) spec->set_max_attempts(*options.max_attempts);
  if (change("priority", options.priority.has_value())) spec->set_priority(*options.priority);
  if (change("share", options.share.has_value())) spec->set_share(*options.share);
  if (change("budget.wall_time", !options.wall_time.empty())) {
    MG_ASSIGN_OR_RETURN(const absl::Duration time, ParseTime("--wall-time", options.wall_time));
    *spec->mutable_budget()->mutable_wall_time() = ToProto(time);
  }
  if (change("budget.gpu_time", !options.gpu_time.empty())) {
    MG_ASSIGN_OR_RETURN(const absl::Duration time, ParseTime("--gpu-time", options.gpu_time));
    *spec->mutable_budget()->mutable_gpu_time() = ToProto(time);
  }
  if (change("attempt_timeout", !options.attempt_timeout.empty())) {
    MG_ASSIGN_OR_RETURN(const absl::Duration time, ParseTime("--attempt-timeout", options.attempt_timeout));
    *spec->mutable_attempt_timeout() = ToProto(time);
  }
  if (request.update_mask().paths().empty()) {
    return absl::InvalidArgumentError("nothing to change is named; `merganser update --help` lists what can be");
  }
  MG_ASSIGN_OR_RETURN(ClientChannel channel, Connect(options.connection));
  ServerJobs server(std::move(channel), options.connection.server);
  MG_ASSIGN_OR_RETURN(const v1::UpdateJobResponse response, server.UpdateJob(request));
  const v1::Job& job = response.job();
  const std::string& binds = response.binding_budget();
  if (PrintMessage(options.format, job)) {
    if (!binds.empty()) std::fprintf(stderr, "merganser: %s\n", binds.c_str());
    return exit_code::kOk;
  }
  Print(absl::StrCat(job.id(), " ", job.spec().name(), " is in ", job.state(), ", ", job.search_finished(),
                     job.search_total() > 0 ? absl::StrCat(" of ", job.search_total()) : "", " candidates done",
                     job.state() == "failed" ? absl::StrCat("; `merganser resume ", job.id(), "` takes it up again") : "",
                     binds.empty() ? "" : absl::StrCat("; ", binds), "\n"));
  return exit_code::kOk;
}

}  // namespace

void AddServiceCommands(CLI::App& app, Action* chosen) {
  auto submit = std::make_shared<SubmitOptions>();
  CLI::App* verb = AddVerb(app, "submit", "Gives a job to a coordinator and prints its id",
                           "  merganser submit job.yaml --watch\n  merganser submit job.yaml --server coordinator:50051",
                           submit, &Submit, chosen);
  AddJobInput(verb, &submit->job, "; an absolute path in it may be one that only the workers have");
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

  auto pause = std::make_shared<CancelOptions>();
  verb = AddVerb(app, "pause", "Lets what runs finish and dispatches nothing new", "  merganser pause job-7", pause, &Pause,
                 chosen);
  verb->add_option("JOB", pause->job, "Id or name")->required();
  AddFormatOption(verb, &pause->format);
  AddConnectionOptions(verb, &pause->connection, false);

  auto resume = std::make_shared<CancelOptions>();
  verb = AddVerb(app, "resume", "Lets a paused job go on, or tries again what a failed one failed of",
                 "  merganser resume job-7", resume, &Resume, chosen);
  verb->add_option("JOB", resume->job, "Id or name")->required();
  AddFormatOption(verb, &resume->format);
  AddConnectionOptions(verb, &resume->connection, false);

  auto update = std::make_shared<UpdateOptions>();
  verb = AddVerb(app, "update", "Changes a job's budget, limits or priority; a larger budget lets a finished one go on",
                 "  merganser update job-7 --candidates 800\n  merganser update ja-math --priority 10", update, &Update,
                 chosen);
  verb->add_option("JOB", update->job, "Id or name")->required();
  verb->add_option("--candidates", update->candidates, "As budget.candidates of the job file, all of them")
      ->check(PositiveNumber());
  verb->add_option("--generations", update->generations, "As budget.generations")->check(PositiveNumber());
  verb->add_option("--samples", update->samples, "As budget.samples")->check(PositiveNumber());
  verb->add_option("--wall-time", update->wall_time, "As budget.wall_time: 90m, 12h");
  verb->add_option("--gpu-time", update->gpu_time, "As budget.gpu_time: 500h");
  verb->add_option("--target", update->target, "As budget.target");
  verb->add_option("--stage", update->stage, "Whose budget, 1 for the first; default: the last stage's")
      ->check(PositiveNumber());
  verb->add_option("--max-attempts", update->max_attempts, "Per candidate")->check(PositiveNumber());
  verb->add_option("--attempt-timeout", update->attempt_timeout, "An attempt that evaluates longer is stopped");
  verb->add_option("--priority", update->priority, "Higher goes first; in [-100, 100]");
  verb->add_option("--share", update->share, "Of the workers, relative to other jobs of its priority")
      ->check(PositiveNumber());
  AddFormatOption(verb, &update->format);
  AddConnectionOptions(verb, &update->connection, false);
}

}  // namespace merganser

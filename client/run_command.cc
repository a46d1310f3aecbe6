// run: a whole job on this machine.
#include <errno.h>  // program_invocation_name: what the shell found this program by
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/embedded_fleet.h"
#include "client/exit_code.h"
#include "client/front_report.h"
#include "client/interrupt.h"
#include "client/job_input.h"
#include "client/job_plan.h"
#include "client/local_options.h"
#include "client/output.h"
#include "client/pinned_models.h"
#include "client/prepared_job.h"
#include "client/print_message.h"
#include "client/progress.h"
#include "client/run_files.h"
#include "client/run_outputs.h"
#include "client/sample_prompt.h"
#include "client/spec_difference.h"
#include "client/verb.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/config/job_file.h"
#include "common/rpc/duration_flag.h"
#include "common/rpc/http_server.h"
#include "common/store/open_store.h"
#include "coordinator/http/dashboard.h"
#include "coordinator/search_space/search_space.h"

namespace merganser {
namespace {

// At most this much of a long job goes into the estimate of the first screen.
constexpr absl::Duration kCalibrationLimit = absl::Seconds(20);
constexpr absl::Duration kRedraw = absl::Milliseconds(200);
// A store that cannot be written is told of after the first, then every kStoreTold.
constexpr absl::Duration kStorePatience = absl::Seconds(5), kStoreTold = absl::Minutes(1);

struct RunOptions {
  JobInput job;
  std::string out, store;
  bool resume = false;
  absl::Duration store_wait = absl::Minutes(10);
  std::optional<int> dashboard;  // port
  LocalOptions local;
  const CLI::App* verb = nullptr;  // as it was typed
};

// As a shell reads it.
std::string Quoted(const std::string& word) {
  const bool plain = std::all_of(word.begin(), word.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("_-./:=@,+%", absl::string_view(&c, 1));
  });
  return plain && !word.empty() ? word : ShellWord(word);
}

// What goes on with the run: all that was said of it, too.
std::string ResumeCommand(const RunOptions& options, const std::string& out) {
  std::string command =
      absl::StrCat(Quoted(program_invocation_name), " run ", Quoted(options.job.file), " --out ", Quoted(out));
  for (const CLI::Option* option : options.verb->get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || option->get_positional() || name == "--out" || name == "--resume") continue;
    if (option->get_items_expected_max() == 0) {  // a flag
      absl::StrAppend(&command, " ", name);
      continue;
    }
    for (const std::string& value : option->results()) absl::StrAppend(&command, " ", name, " ", Quoted(value));
  }
  return command + " --resume";
}

// The coordinator's dashboard over this process's job, for this machine only.
absl::StatusOr<std::unique_ptr<HttpServer>> StartDashboard(int port, JobManager* jobs, ResultsStore* store) {
  DashboardOptions options;
  options.store_uri = store->uri();
  options.indexes = std::make_shared<JobIndexes>(jobs, store);
  options.host_allowed = [](absl::string_view host) {
    return absl::StartsWith(host, "127.0.0.1:") || absl::StartsWith(host, "localhost:");
  };
  return HttpServer::Start(absl::StrCat("127.0.0.1:", port), {}, MakeDashboard(jobs, store, std::move(options)));
}

// The job that the store holds already, nullopt if it has none; `file` takes what its record says of the models.
absl::StatusOr<std::optional<std::string>> StoredJobOf(ResultsStore& store, const RunOptions& options,
                                                       const std::string& uri, JobFile* file) {
  MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> jobs, store.ListJobs());
  const StoredJob* found = nullptr;
  for (const StoredJob& job : jobs) {
    // A run's own file holds one job, whatever its name; a shared store is asked by name.
    if (options.store.empty() || job.name == file->spec.name) found = &job;
  }
  if (found == nullptr) return std::nullopt;
  const StoredJob& stored = *found;
  if (!options.resume) {
    return absl::FailedPreconditionError(absl::StrCat(uri,
                                                      " holds a run already; add --resume to go on with it, or give "
                                                      "another --out"));
  }
  MG_ASSIGN_OR_RETURN(JobSpec spec, ProtoJobCodec().DecodeSpec(stored.spec));
  // These may change while a job runs, and take effect below.
  if (NumStages(spec) == NumStages(file->spec)) ApplySettings(SettingsOf(file->spec), &spec);
  KeepPins(spec, &file->spec);
  if (const auto difference = SpecDifference(spec, file->spec)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--resume: ", options.job.file, " is not the job of ", uri, ": ", *difference));
  }
  return stored.id;
}

// Brings a job that goes on to the budget and the limits that its file has now.
absl::StatusOr<JobSummary> TakeSettings(JobManager& jobs, JobSummary job, const JobSpec& wanted) {
  if (job.paused) {
    MG_ASSIGN_OR_RETURN(job, jobs.ResumeJob(job.id, ""));
  }
  for (int stage = 0; stage < NumStages(wanted); ++stage) {
    const Budget budget = StageOf(wanted, stage).budget;
    const bool others = stage == 0 && SettingsOf(job.spec) != SettingsOf(wanted);
    if (!others && budget == StageOf(job.spec, stage).budget) continue;
    JobUpdate update{.stage = stage};
    if (others) update.fields = {"max_attempts", "attempt_timeout", "priority", "share"};
    if (budget != StageOf(job.spec, stage).budget) update.fields.push_back("budget");
    update.values = wanted;
    update.values.budget = budget;
    MG_ASSIGN_OR_RETURN(job, jobs.UpdateJob(job.id, update, ""));
  }
  return job;
}

// Says what a run waits for whose results cannot be written, and for how long it does.
class StoreWait {
 public:
  StoreWait(const StoreWatch& watch, absl::Duration limit, Progress& progress)
      : watch_(watch), limit_(limit), progress_(progress) {}

  // Unavailable: they could not be written for as long as the run waits.
  absl::Status Check() {
    const std::optional<StoreWatch::Outage> outage = watch_.outage();
    if (!outage.has_value()) {
      if (std::exchange(told_at_, std::nullopt).has_value()) progress_.Note("results are written again");
      return absl::OkStatus();
    }
    const absl::Duration now = Clock::Real().Monotonic();
    const std::string lasted = DurationText(now - outage->since);
    const std::string what = absl::StrCat("results cannot be written: ", outage->error.message());
    if (now - outage->since >= limit_) {
      return absl::UnavailableError(absl::StrCat(what, "; this run has waited for ", lasted));
    }
    if (now - outage->since < kStorePatience || (told_at_.has_value() && now - *told_at_ < kStoreTold))
      return absl::OkStatus();
    told_at_ = now;
    progress_.Note(
        absl::StrCat("waiting: ", what, "; so for ", lasted, ", at most for ", DurationText(limit_), " (--store-wait)"));
    return absl::OkStatus();
  }

 private:
  const StoreWatch& watch_;
  const absl::Duration limit_;
  Progress& progress_;
  std::optional<absl::Duration> told_at_;  // of an outage that was told of
};

// Follows the job until it is over. Cancelled after a stop request; DataLoss: its log is damaged; errors of `store`.
absl::StatusOr<JobSummary> FollowToEnd(JobManager& jobs, const JobSummary& start, Progress& progress, StoreWait store,
                                       std::stop_token stop) {
  JobSummary job = start;
  int64_t seq = 0;
  progress.SetQuietThrough(start.seq);
  while (true) {
    MG_ASSIGN_OR_RETURN(const JobManager::EventBatch batch, jobs.WaitForEvents(job.id, seq, kRedraw));
    job = batch.job;
    for (const auto& [event_seq, event] : batch.events) {
      progress.OnEvent(event_seq, event, job);
      seq = event_seq;
    }
    if (job.phase == JobPhase::kDamaged) return absl::DataLossError(absl::StrCat(job.id, ": ", job.message));
    if (IsTerminal(job.phase) && seq >= job.seq) break;
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    MG_RETURN_IF_ERROR(store.Check());
    progress.Draw(job, absl::Now());
  }
  return job;
}

class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options),
        interrupt_("stopping; what is recorded stays"),
        progress_(std::cerr, DescribeTerminal(STDERR_FILENO)) {}

  absl::StatusOr<int> ToEnd() {
    const absl::StatusOr<int> code = Search();
    progress_.Clear();
    if (interrupt_.signal() == 0 && !store_away_) return code;
    if (!out_.empty()) {
      progress_.Note(absl::StrCat("stopped; to go on: ", ResumeCommand(options_, out_)));
    }
    if (interrupt_.signal() == 0) return code;
    return exit_code::FromSignal(interrupt_.signal());
  }

 private:
  absl::StatusOr<int> Search() {
    MG_ASSIGN_OR_RETURN(JobFile file, ReadJobInput(options_.job, PathsAre::kHere));
    MG_RETURN_IF_ERROR(OpenOut(file));
    MG_ASSIGN_OR_RETURN(const std::optional<std::string> stored, StoredJobOf(*store_, options_, uri_, &file));
    if (!stored) {
      const absl::Status pinned = PinModels(&file.spec);
      if (!pinned.ok()) return file.source.Locate(pinned);
    }
    if (options_.resume && !stored) progress_.Note(absl::StrCat("nothing to resume in ", uri_, ": starting anew"));
    MG_ASSIGN_OR_RETURN(
        const PreparedJob prepared,
        PrepareJob(file, options_.local, stored ? std::nullopt : std::optional(kCalibrationLimit), interrupt_.token()));
    if (!stored) std::cerr << JobPlanText(prepared.plan) << std::endl;
    MG_ASSIGN_OR_RETURN(const auto fleet,
                        EmbeddedFleet::Start(store_.get(), prepared.evaluator.get(), options_.local.device));
    MG_ASSIGN_OR_RETURN(JobSummary start,
                        stored ? fleet->jobs().GetJob(*stored) : fleet->jobs().CreateJob("", file.spec, ""));
    if (stored) {
      MG_ASSIGN_OR_RETURN(start, TakeSettings(fleet->jobs(), std::move(start), file.spec));
      if (start.phase == JobPhase::kFailed) {
        absl::StatusOr<JobSummary> resumed = fleet->jobs().ResumeJob(start.id, "");
        if (!resumed.ok() && !absl::IsFailedPrecondition(resumed.status())) return resumed.status();
        if (resumed.ok()) start = *std::move(resumed);  // else it ends as it ended
      }
      progress_.Note(absl::StrCat("going on with ", start.spec.name, " at ", start.search_finished,
                                  start.search_total > 0 ? absl::StrCat(" of ", start.search_total) : "", " candidates"));
    }
    progress_.SetSlots(1);
    std::unique_ptr<HttpServer> dashboard;
    if (options_.dashboard.has_value()) {
      MG_ASSIGN_OR_RETURN(dashboard, StartDashboard(*options_.dashboard, &fleet->jobs(), store_.get()));
      progress_.Note(absl::StrCat("dashboard   http://127.0.0.1:", dashboard->port(), "/ until the run ends"));
    }
    const absl::StatusOr<JobSummary> followed =
        FollowToEnd(fleet->jobs(), start, progress_, StoreWait(fleet->store_watch(), options_.store_wait, progress_),
                    interrupt_.token());
    store_away_ = absl::IsUnavailable(followed.status());
    MG_ASSIGN_OR_RETURN(const JobSummary job, followed);
    progress_.Clear();
    MG_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, fleet->jobs().ListCandidates(job.id));
    dashboard = nullptr;
    fleet->Stop();
    return Finish(job, candidates, prepared);
  }

  absl::Status OpenOut(const JobFile& file) {
    const std::string out = options_.out.empty() ? absl::StrCat("out/", file.spec.name) : options_.out;
    std::error_code error;
    std::filesystem::create_directories(out, error);
    if (error) return ErrnoStatus(error.value(), "--out: cannot make", out);
    uri_ = options_.store.empty() ? absl::StrCat("sqlite:", out, "/run.db") : options_.store;
    MG_ASSIGN_OR_RETURN(store_, OpenStore(uri_));
    out_ = out;
    return absl::OkStatus();
  }

  absl::StatusOr<int> Finish(const JobSummary& job, const std::vector<Candidate>& candidates, const PreparedJob& prepared) {
    RunScores scores = ScoresOf(job, candidates, *prepared.library);
    std::map<std::string, double> seconds = {{"load", absl::ToDoubleSeconds(prepared.load_time)}};
    std::optional<ExportFacts> exported;
    if (job.best_candidate) {
      MG_ASSIGN_OR_RETURN(exported, ExportBest(job, candidates, scores, absl::StrCat(out_, "/best"), *prepared.library,
                                               options_.local, interrupt_.token()));
      seconds["export"] = exported->seconds;
      if (scores.held_out && !BestCandidate(job, candidates)->recipe.path.empty()) {
        progress_.Note("the folded winner on the held-out benchmarks");
        MG_RETURN_IF_ERROR(
            ScoreExported(job, absl::StrCat(out_, "/best"), *prepared.library, options_.local, interrupt_.token(), &scores));
      }
    }
    const auto front = DescribeFront(job.spec, candidates, [&](const std::string& key) { return store_->GetRecord(key); });
    seconds["total"] = absl::ToDoubleSeconds(Clock::Real().Monotonic() - start_);
    MG_RETURN_IF_ERROR(WriteRunFiles(job, candidates, scores, front, out_, seconds));
    if (job.phase != JobPhase::kSucceeded) {
      std::cerr << "error: " << job.spec.name << " " << ToString(job.phase) << ": " << job.message << std::endl;
      return exit_code::kJobFailed;
    }
    std::string text = absl::StrCat("\n", ScoreTableText(job, scores.table));
    if (!scores.held_out)
      absl::StrAppend(&text, "(the search chose its winner by these numbers; name a held_out benchmark)\n");
    if (exported) {
      absl::StrAppend(&text, "\nwinner      ", out_, "/best  (", FormatBytes(exported->bytes), ", candidate ",
                      *job.best_candidate, ", fitness ", FitnessText(job.best_fitness), ")\n");
      if (const std::string better = BetterBaseline(job, candidates); !better.empty()) {
        absl::StrAppend(&text, "note        ", better, "; a larger budget or wider bounds may help\n");
      }
      if (!exported->no_mergekit_yaml.empty()) {
        absl::StrAppend(&text, "note        no mergekit.yaml: ", exported->no_mergekit_yaml, "\n");
      }
      // Models that only a program scores may be of a family that the engine does not run.
      const auto& scored = job.spec.benchmarks;
      if (std::any_of(scored.begin(), scored.end(), [](const auto& b) { return b.use != "command"; })) {
        const std::string prompt =
            SamplePrompt(job, candidates, [&](const std::string& key) { return store_->GetRecord(key); });
        const bool sees = job.facts && ArchitectureSees(job.facts->architecture);
        absl::StrAppend(&text, "try it      ", program_invocation_name, " generate ", out_, "/best ",
                        sees ? "--image FILE " : "", "--prompt ", prompt, "\n");
      }
    }
    if (front) absl::StrAppend(&text, "front       ", FrontText(job.spec, *front), "\n");
    absl::StrAppend(&text, "report      ", out_, "/report.html\ntook        ", DurationText(absl::Seconds(seconds["total"])),
                    "\n");
    Print(text);
    return exit_code::kOk;
  }

  const RunOptions options_;
  const absl::Duration start_ = Clock::Real().Monotonic();
  Interrupt interrupt_;
  Progress progress_;
  std::string out_, uri_;    // empty until opened
  bool store_away_ = false;  // the run ended for it
  std::unique_ptr<ResultsStore> store_;
};

absl::StatusOr<int> RunJob(const RunOptions& options) { return Run(options).ToEnd(); }

}  // namespace

void AddRunCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* verb = AddVerb(app, "run", "Runs a whole job on this machine and writes the winner as a checkpoint",
                           "  merganser run job.yaml\n  merganser run job.yaml --out out/mine --resume\n\n"
                           "Leaves in the --out folder: best/ (checkpoint, recipe.yaml, mergekit.yaml, model "
                           "card), report.html,\n"
                           "candidates.jsonl, summary.json, run.db (every result). Ctrl-C stops cleanly; "
                           "--resume goes on.",
                           options, &RunJob, chosen);
  options->verb = verb;
  AddJobInput(verb, &options->job);
  verb->add_option("--out", options->out, "Folder for the results; default: out/NAME of the job");
  verb->add_flag("--resume", options->resume, "Go on with what the folder holds; nothing recorded is run again");
  verb->add_option("--store", options->store,
                   "Keep results elsewhere than in the folder's run.db: sqlite:PATH or redis://...");
  AddDurationFlag(
      verb, "--store-wait", &options->store_wait,
      "How long the run waits for a store that cannot be written (a full disk), until it ends; --resume goes on");
  verb->add_option("--dashboard", options->dashboard,
                   "Show the run as it goes at http://127.0.0.1:PORT/; 0 chooses a free port")
      ->type_name("PORT")
      ->check(CLI::Range(0, 65535));
  AddLocalOptions(verb, &options->local);
  AddMergeOptions(verb, &options->local);
  AddMergeAheadFlag(verb, &options->local.merge_ahead);
  AddCommandOption(verb, &options->local);
}

}  // namespace merganser

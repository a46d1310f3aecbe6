// jobs, describe, candidates, best, events: what one may ask of a coordinator or of a store.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/candidate_name.h"
#include "client/connection.h"
#include "client/exit_code.h"
#include "client/front_report.h"
#include "client/interrupt.h"
#include "client/json_output.h"
#include "client/message_json.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/run_outputs.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/cli/number_checks.h"
#include "common/codec/job_codec.h"
#include "common/codec/time_codec.h"
#include "common/config/yaml_message.h"

namespace merganser {
namespace {

struct ReadOptions {
  ConnectionOptions connection;
  std::string job, format = "table";
  CandidateQuery query;
  int64_t after = 0;
  bool follow = false;
};

std::string Fitness(const google::protobuf::RepeatedField<double>& fitness) {
  if (fitness.empty()) return "-";
  return FitnessText(fitness);
}

constexpr absl::string_view kDamaged = "damaged";

std::string StateText(const v1::Job& job) { return job.paused() ? absl::StrCat(job.state(), " (paused)") : job.state(); }

std::string Done(const v1::Job& job) {
  return absl::StrCat(job.search_finished(), job.search_total() > 0 ? absl::StrCat("/", job.search_total()) : "");
}

std::map<std::string, std::map<std::string, double>> MetricsOf(const v1::Candidate& candidate) {
  std::map<std::string, std::map<std::string, double>> table;
  for (const auto& [benchmark, metrics] : candidate.metrics()) {
    for (const auto& [metric, value] : metrics.values()) table[benchmark][metric] = value;
  }
  return table;
}

// "ja_math acc 0.5600 acc_ja 0.5440".
std::string Scores(const v1::Candidate& candidate) {
  std::string text;
  for (const auto& [benchmark, metrics] : MetricsOf(candidate)) {
    absl::StrAppend(&text, text.empty() ? "" : "  ", benchmark);
    for (const auto& [metric, value] : metrics) absl::StrAppend(&text, " ", metric, " ", FormatFitness(value));
  }
  return text;
}

absl::Duration Took(const v1::Job& job) {
  return (job.has_end_time() ? FromProto(job.end_time()) : absl::Now()) - FromProto(job.create_time());
}

// At the mean speed since the start; infinite where that cannot be told.
absl::Duration Left(const v1::Job& job) {
  const int64_t left = job.search_total() - job.search_finished();
  if (job.has_end_time() || job.paused() || job.state() == kDamaged || job.search_finished() == 0 || left <= 0)
    return absl::InfiniteDuration();
  return Took(job) / job.search_finished() * left;
}

double Seconds(const v1::PhaseTimings& t) {
  return t.materialize() + t.tokenize() + t.prefill() + t.decode() + t.score() + t.record();
}

absl::StatusOr<int> Jobs(const ReadOptions& options) {
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, reader->ListJobs());
  v1::ListJobsResponse list;
  for (const v1::Job& job : jobs) *list.add_jobs() = job;
  if (PrintMessage(options.format, list)) return exit_code::kOk;
  Table table({"job", "name", "state", ">done", "?>running", ">failed", ">best", ">left", ">took", "?created"});
  for (const v1::Job& job : jobs) {
    const absl::Time create = FromProto(job.create_time());
    table.Add({job.id(), job.spec().name(), StateText(job), Done(job), absl::StrCat(job.running()),
               absl::StrCat(job.failed()), Fitness(job.best_fitness()), DurationText(Left(job)), DurationText(Took(job)),
               TimeText(create)});
  }
  Print(table.Render(OutputWidth()));
  for (const v1::Job& job : jobs) {
    if (job.state() == kDamaged) std::fprintf(stderr, "%s: %s\n", job.id().c_str(), job.message().c_str());
  }
  if (table.empty()) std::fputs("no job yet; `merganser submit job.yaml` makes one\n", stderr);
  return exit_code::kOk;
}

// The held-out scores of what the objectives measure, a line per metric: "test.acc_ja: base 2.0 %, winner 54.4 %".
std::vector<std::string> HeldOutLines(const v1::JobSpec& spec, const std::vector<v1::Candidate>& candidates) {
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> lines;  // metric -> label, value
  for (const v1::Candidate& c : candidates) {
    for (const auto& [benchmark, metrics] : MetricsOf(c)) {
      const auto aimed = [&](const std::string& metric) {
        return std::any_of(spec.objectives().begin(), spec.objectives().end(),
                           [&](const v1::Objective& o) { return o.metric() == metric; });
      };
      const bool any = std::any_of(metrics.begin(), metrics.end(), [&](const auto& m) { return aimed(m.first); });
      for (const auto& [metric, value] : metrics) {
        if (any && !aimed(metric)) continue;
        auto& line = lines[absl::StrCat(benchmark, ".", metric)];
        // A job that went on may have another winner than before: the newest counts.
        std::erase_if(line, [&](const auto& score) { return score.first == c.label(); });
        line.emplace_back(c.label(), FormatMetric(metric, value));
      }
    }
  }
  std::vector<std::string> texts;
  for (const auto& [metric, line] : lines) {
    texts.push_back(absl::StrCat(metric, ": ", absl::StrJoin(line, ", ", absl::PairFormatter(" "))));
  }
  return texts;
}

// "" while nothing holds every constraint.
absl::StatusOr<std::string> Front(JobReader& reader, const v1::Job& job) {
  MG_ASSIGN_OR_RETURN(const JobSummary summary, FromProto(job));
  MG_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, ReadCandidates(reader, job.id()));
  const auto record = [&](const std::string& key) { return reader.GetRecord(key); };
  const std::optional<FrontReport> front = DescribeFront(summary.spec, candidates, record);
  if (!front) return std::string();
  return absl::StrCat(FrontText(summary.spec, *front), "; candidates ", absl::StrJoin(front->candidates, " "));
}

// What the size of a generation was chosen for, and what it leaves idle.
std::string SlotsText(const v1::Job& job) {
  if (job.slots() == 0) return "";
  const std::string slots = absl::StrCat(job.slots(), job.slots() == 1 ? " evaluation slot" : " evaluation slots");
  if (job.slots() <= job.population()) return absl::StrCat(" (for ", slots, ")");
  return absl::StrCat(" (of ", slots, " at its start ", job.slots() - job.population(), " stay idle)");
}

void Line(absl::string_view key, const std::string& value) {
  if (!value.empty()) Print(absl::StrFormat("%-12s %s\n", key, value));
}

// What became of one of its attempts.
std::string Outcome(const v1::Candidate& c, const v1::Attempt& attempt) {
  if (!attempt.failure().empty()) return attempt.failure();
  if (attempt.scored()) return "scored";
  if (!attempt.ended() && !c.has_end_time()) return "running";
  // The record that counts is named after its attempt: "...:ATTEMPT:TOKEN".
  const std::vector<absl::string_view> key = absl::StrSplit(c.record_key(), ':');
  if (key.size() > 1 && key[key.size() - 2] == absl::StrCat(attempt.number())) return c.state();
  return "stopped";  // another one's result counted, or the job ended
}

absl::StatusOr<int> DescribeCandidate(const ReadOptions& options, const std::string& job, int64_t number) {
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const v1::GetCandidateResponse response, reader->DescribeCandidate(job, number));
  if (PrintMessage(options.format, response)) return exit_code::kOk;
  const v1::Candidate& c = response.candidate();
  Line("candidate", absl::StrCat(c.number(), " ", c.kind(), c.label().empty() ? "" : absl::StrCat(" ", c.label())));
  if (c.kind() == "search") Line("generation", absl::StrCat(c.generation() + 1));
  Line("state", c.state());
  Line("waiting", response.waiting());
  Line("message", c.message());
  Line("fitness", Fitness(c.fitness()));
  Line("created", TimeText(FromProto(c.create_time())));
  if (c.has_end_time()) Line("ended", TimeText(FromProto(c.end_time())));
  Table attempts({">attempt", "worker", "began", "outcome", "message"});
  for (const v1::Attempt& attempt : c.attempts()) {
    attempts.Add({absl::StrCat(attempt.number(), attempt.speculative() ? " (second)" : ""), attempt.worker(),
                  TimeText(FromProto(attempt.start_time())), Outcome(c, attempt), Shorten(attempt.message(), 80)});
  }
  if (!attempts.empty()) Print(attempts.Render());
  Print("recipe\n");
  Print(WriteYaml(c.recipe()));
  return exit_code::kOk;
}

absl::StatusOr<int> Describe(const ReadOptions& options) {
  MG_ASSIGN_OR_RETURN(const CandidateName name, ParseCandidateName(options.job));
  if (name.number.has_value()) return DescribeCandidate(options, name.job, *name.number);
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const v1::Job job, reader->GetJob(options.job));
  if (PrintMessage(options.format, job)) return exit_code::kOk;
  Line("job", absl::StrCat(job.id(), " ", job.spec().name()));
  Line("state", StateText(job));
  Line("message", job.message());
  Line("candidates", absl::StrCat(job.queued(), " queued, ", job.running(), " running, ", job.succeeded(), " succeeded, ",
                                  job.failed(), " failed, ", job.cancelled(), " cancelled"));
  const bool searches = job.population() > 0;  // before, the models are not read yet
  Line("search", searches ? absl::StrCat(Done(job), " done, generation ", job.generation() + 1, " of ", job.population(),
                                         " candidates each", SlotsText(job), ", ", job.dimension(), " numbers per genome")
                          : absl::StrCat(Done(job), " done, not begun"));
  Line("waiting", job.waiting());
  if (job.has_best_candidate()) {
    Line("best", absl::StrCat(Fitness(job.best_fitness()), " (candidate ", job.best_candidate(), ")"));
  }
  if (job.spec().objectives_size() > 1) {
    MG_ASSIGN_OR_RETURN(const std::string front, Front(*reader, job));
    Line("front", front);
  }
  CandidateQuery held_out;
  held_out.kind = "held_out";
  held_out.state = "succeeded";
  held_out.order_by = "number";
  MG_ASSIGN_OR_RETURN(const std::vector<v1::Candidate> scored, reader->ListCandidates(job.id(), held_out));
  const std::vector<std::string> scores = HeldOutLines(job.spec(), scored);
  for (size_t i = 0; i < scores.size(); ++i) Line(i == 0 ? "held out" : "", scores[i]);
  Line("created", TimeText(FromProto(job.create_time())));
  if (job.has_end_time()) Line("ended", TimeText(FromProto(job.end_time())));
  Line("took", DurationText(Took(job)));
  const absl::Duration left = Left(job);
  Line("left", left == absl::InfiniteDuration() ? "" : absl::StrCat("about ", DurationText(left)));
  Line("work", absl::StrCat(DurationText(absl::Seconds(Seconds(job.timings()))), " of workers"));
  Print("spec\n");
  Print(WriteYaml(job.spec()));
  return exit_code::kOk;
}

absl::StatusOr<int> Candidates(const ReadOptions& options) {
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const std::vector<v1::Candidate> candidates, reader->ListCandidates(options.job, options.query));
  v1::ListCandidatesResponse list;
  for (const v1::Candidate& candidate : candidates) *list.add_candidates() = candidate;
  if (PrintMessage(options.format, list)) return exit_code::kOk;
  Table table({">candidate", "kind", "label", "?>generation", "state", ">fitness", "?>seconds", "?>attempts", "message"});
  for (const v1::Candidate& c : candidates) {
    // Held-out candidates have scores and no fitness.
    table.Add({absl::StrCat(c.number()), c.kind(), c.label(), c.kind() == "search" ? absl::StrCat(c.generation() + 1) : "",
               c.state(), Fitness(c.fitness()), absl::StrFormat("%.2f", Seconds(c.timings())),
               absl::StrCat(c.attempts_size()),
               c.fitness().empty() && c.message().empty() ? Scores(c) : Shorten(c.message(), 60)});
  }
  Print(table.Render(OutputWidth()));
  if (table.empty()) std::fputs("no such candidate\n", stderr);
  return exit_code::kOk;
}

absl::StatusOr<int> Best(const ReadOptions& options) {
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const v1::Job job, reader->GetJob(options.job));
  if (!job.has_best_candidate()) {
    return absl::NotFoundError(absl::StrCat("job ", job.id(), " has no best candidate yet (", job.state(), ")"));
  }
  MG_ASSIGN_OR_RETURN(const v1::Candidate best, reader->GetCandidate(job.id(), job.best_candidate()));
  if (PrintMessage(options.format, best)) return exit_code::kOk;
  std::string text = absl::StrCat("# candidate ", best.number(), " of ", job.id(), " ", job.spec().name(), ", generation ",
                                  best.generation() + 1, ", fitness ", Fitness(best.fitness()), "\n");
  if (job.spec().objectives_size() > 1) {
    MG_ASSIGN_OR_RETURN(const std::string front, Front(*reader, job));
    if (!front.empty()) absl::StrAppend(&text, "# front: ", front, "\n");
  }
  Print(absl::StrCat(text, WriteYaml(best.recipe())));
  return exit_code::kOk;
}

// "search_best: 0.3" style details of an event for one line.
std::string Details(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kCandidatesProposed: {
      const auto& candidates = event.candidates_proposed().candidates();
      if (candidates.empty()) return "none";
      return absl::StrCat(candidates.begin()->kind(), " ", candidates.begin()->number(), "-", candidates.rbegin()->number());
    }
    case v1::JobEvent::kAttemptStarted: {
      const auto& e = event.attempt_started();
      return absl::StrCat("candidate ", e.candidate(), " attempt ", e.attempt(), " on ", e.worker(),
                          e.speculative() ? ", beside a slow one" : "");
    }
    case v1::JobEvent::kAttemptEnded: {
      const auto& e = event.attempt_ended();
      return absl::StrCat("candidate ", e.candidate(), " attempt ", e.attempt(), " ", e.failure(), ": ",
                          Shorten(e.message(), 100));
    }
    case v1::JobEvent::kCandidateFinished: {
      const auto& e = event.candidate_finished();
      return absl::StrCat("candidate ", e.candidate(), " ", e.state(), e.fitness_size() > 0 ? " fitness " : "",
                          e.fitness_size() > 0 ? Fitness(e.fitness()) : "", e.message().empty() ? "" : ": ",
                          Shorten(e.message(), 100));
    }
    case v1::JobEvent::kBlockScored:
      return absl::StrCat("candidate ", event.block_scored().candidate(), " is scored on its blocks so far");
    case v1::JobEvent::kRaceAdvanced: {
      const auto& e = event.race_advanced();
      return absl::StrCat(e.candidates_size(), " candidates go on to block ", e.blocks());
    }
    case v1::JobEvent::kPhaseStarted:
      return absl::StrCat(event.phase_started().phase(), event.phase_started().message().empty() ? "" : ": ",
                          event.phase_started().message());
    case v1::JobEvent::kActionTaken: {
      const auto& e = event.action_taken();
      return absl::StrCat(e.kind(), e.by().empty() ? "" : " by ", e.by(), e.message().empty() ? "" : ": ",
                          Shorten(e.message(), 200));
    }
    default:
      return "";
  }
}

const char* EventName(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kCandidatesProposed:
      return "proposed";
    case v1::JobEvent::kAttemptStarted:
      return "started";
    case v1::JobEvent::kAttemptEnded:
      return "attempt_ended";
    case v1::JobEvent::kCandidateFinished:
      return "finished";
    case v1::JobEvent::kBlockScored:
      return "block_scored";
    case v1::JobEvent::kRaceAdvanced:
      return "race_advanced";
    case v1::JobEvent::kPhaseStarted:
      return "phase";
    case v1::JobEvent::kActionTaken:
      return "action";
    default:
      return "unknown";
  }
}

absl::StatusOr<int> Events(const ReadOptions& options) {
  const Interrupt interrupt("detached");  // before gRPC starts threads
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  int64_t end = -1;  // of the log when we came
  std::string damage;
  const auto on_update = [&](const v1::WatchJobResponse& update) {
    if (update.job().state() == kDamaged) damage = absl::StrCat(update.job().id(), ": ", update.job().message());
    if (end < 0) end = update.job().seq();
    if (update.seq() > 0) {
      if (options.format == "json") {
        Print(DumpJson({{"seq", update.seq()}, {"event", MessageJson(update.event())}}, -1));
      } else if (options.format == "yaml") {
        Print(absl::StrCat("---\n", DumpYaml({{"seq", update.seq()}, {"event", MessageJson(update.event())}})));
      } else {
        Print(absl::StrFormat("%6d  %s  %-13s  %s\n", update.seq(), TimeText(FromProto(update.event().time())),
                              EventName(update.event()), Details(update.event())));
      }
    }
    return options.follow || std::max(options.after, update.seq()) < end;
  };
  const absl::Status status =
      reader->Follow(options.job, options.after, absl::InfiniteFuture(), interrupt.token(), on_update);
  if (interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
  MG_RETURN_IF_ERROR(status);
  if (!damage.empty()) return absl::DataLossError(damage);
  return exit_code::kOk;
}

}  // namespace

void AddJobCommands(CLI::App& app, Action* chosen) {
  const auto add = [&](const char* name, const char* purpose, const char* example,
                       absl::StatusOr<int> (*run)(const ReadOptions&), bool with_job) {
    auto options = std::make_shared<ReadOptions>();
    CLI::App* verb = AddVerb(app, name, purpose, example, options, run, chosen);
    if (with_job) verb->add_option("JOB", options->job, "Id or name (the newest job of that name)")->required();
    AddConnectionOptions(verb, &options->connection, /*with_store=*/true);
    return std::make_pair(verb, options);
  };
  auto [jobs, jobs_options] =
      add("jobs", "Lists jobs", "  merganser jobs\n  merganser jobs --store sqlite:out/ja-math/run.db", &Jobs, false);
  AddFormatOption(jobs, &jobs_options->format);
  auto [describe, describe_options] =
      add("describe", "Says everything about a job, or about one of its candidates (JOB/CANDIDATE)",
          "  merganser describe job-7 -o json\n  merganser describe job-7/31", &Describe, true);
  AddFormatOption(describe, &describe_options->format);
  auto [candidates, query] =
      add("candidates", "Lists a job's candidates",
          "  merganser candidates ja-math --kind search --order-by fitness --limit 10", &Candidates, true);
  AddFormatOption(candidates, &query->format);
  candidates->add_option("--kind", query->query.kind, "Only these")
      ->check(CLI::IsMember({"prepare", "source", "average", "search", "finalist", "held_out"}));
  candidates->add_option("--state", query->query.state, "Only these")
      ->check(CLI::IsMember({"queued", "running", "succeeded", "failed", "cancelled"}));
  query->query.order_by = "number";
  candidates->add_option("--order-by", query->query.order_by, "fitness: best first")
      ->check(CLI::IsMember({"number", "fitness"}))
      ->capture_default_str();
  candidates->add_option("--limit", query->query.limit, "The first so many; 0: all")->check(NonNegativeNumber());
  auto [best, best_options] =
      add("best", "Prints the best candidate's recipe", "  merganser best job-7 > recipe.yaml", &Best, true);
  AddFormatOption(best, &best_options->format);
  auto [events, events_options] =
      add("events", "Prints a job's log, one event a line", "  merganser events job-7 --follow", &Events, true);
  events->add_option("-o,--format", events_options->format, "table; json: one object a line; yaml: one document an event")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->capture_default_str();
  events->add_option("--after", events_options->after, "Only events with a higher number")->check(NonNegativeNumber());
  events->add_flag("-f,--follow", events_options->follow, "Go on until the job ends");
}

}  // namespace merganser

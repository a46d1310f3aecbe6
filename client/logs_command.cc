#include "client/logs_command.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/candidate_name.h"
#include "client/connection.h"
#include "client/exit_code.h"
#include "client/output.h"
#include "client/print_message.h"
#include "common/base/status_macros.h"
#include "common/codec/time_codec.h"
#include "merganser/v1/record.pb.h"

namespace merganser {
namespace {

struct LogsOptions {
  ConnectionOptions connection;
  std::string candidate, format = "table";  // JOB/CANDIDATE
  bool samples = false;
};

void Line(absl::Time time, const std::string& text) {
  Print(absl::StrFormat("%-20s  %s\n", time == absl::InfinitePast() ? "" : TimeText(time), text));
}

// Further lines of `text` below its first one.
std::string Indented(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\n", absl::StrCat("\n", std::string(22, ' '))}});
}

std::string AttemptName(const v1::Attempt& attempt) {
  return absl::StrCat("attempt ", attempt.number(), attempt.speculative() ? " (beside a slow one)" : "");
}

void PrintStory(const v1::Candidate& c) {
  Line(FromProto(c.create_time()),
       absl::StrCat("proposed: ", c.kind(), c.label().empty() ? "" : " ", c.label(),
                    c.kind() == "search" ? absl::StrCat(", generation ", c.generation() + 1) : ""));
  for (const v1::Attempt& attempt : c.attempts()) {
    Line(FromProto(attempt.start_time()),
         absl::StrCat(AttemptName(attempt), " on ", attempt.worker(), attempt.scored() ? ", block scored" : ""));
    if (attempt.failure().empty() && attempt.message().empty()) continue;
    Line(absl::InfinitePast(), absl::StrCat(AttemptName(attempt), " ended: ", attempt.failure(),
                                            attempt.message().empty() ? "" : ": ", Indented(attempt.message())));
  }
  if (c.has_end_time()) {
    std::string text = c.state();
    for (int i = 0; i < c.fitness_size(); ++i)
      absl::StrAppend(&text, i == 0 ? ", fitness " : " ", FormatFitness(c.fitness(i)));
    if (!c.message().empty()) absl::StrAppend(&text, ": ", Indented(c.message()));
    Line(FromProto(c.end_time()), text);
  } else {
    Line(absl::InfinitePast(), absl::StrCat("is ", c.state()));
  }
  std::map<std::string, double> scores;  // protobuf's maps have no order
  for (const auto& [benchmark, metrics] : c.metrics()) {
    for (const auto& [metric, value] : metrics.values()) scores[absl::StrCat(benchmark, ".", metric)] = value;
  }
  for (const auto& [name, value] : scores) Line(absl::InfinitePast(), absl::StrCat(name, " ", FormatFitness(value)));
  const v1::PhaseTimings& t = c.timings();
  const std::vector<std::pair<const char*, double>> phases = {
      {"materialize", t.materialize()}, {"tokenize", t.tokenize()}, {"prefill", t.prefill()},
      {"decode", t.decode()},           {"score", t.score()},       {"record", t.record()}};
  std::string times;
  for (const auto& [phase, seconds] : phases) {
    if (seconds > 0) absl::StrAppend(&times, times.empty() ? "" : ", ", phase, " ", DurationText(absl::Seconds(seconds)));
  }
  if (!times.empty()) Line(absl::InfinitePast(), times);
}

absl::Status PrintSamples(JobReader& reader, const v1::Candidate& c, const std::string& job) {
  if (c.record_key().empty()) {
    return absl::NotFoundError(absl::StrCat("candidate ", c.number(), " of ", job, " has no samples of its own: ",
                                            c.message().empty() ? absl::StrCat("it is ", c.state()) : c.message()));
  }
  MG_ASSIGN_OR_RETURN(const std::string bytes, reader.GetRecord(c.record_key()));
  v1::ResultRecord record;
  if (!record.ParseFromString(bytes)) {
    return absl::DataLossError(absl::StrCat("record '", c.record_key(), "' is damaged"));
  }
  const auto& attempts = c.attempts();
  if (std::any_of(attempts.begin(), attempts.end(), [](const v1::Attempt& a) { return a.blocks() > 0; })) {
    Print("\nof its newest record; earlier blocks of its race are in records of their own\n");
  }
  for (const v1::BenchmarkResult& result : record.evaluation().results()) {
    for (int i = 0; i < result.samples_size(); ++i) {
      const v1::SampleOutcome& sample = result.samples(i);
      const int64_t number = i < result.numbers_size() ? result.numbers(i) : i;  // of the benchmark
      Print(absl::StrCat("\n", result.benchmark(), " ", number, ": ", sample.correct() ? "right" : "wrong",
                         sample.prediction().empty() ? "" : absl::StrCat(", read as '", sample.prediction(), "'"),
                         ", answer '", sample.answer(), "'\n", sample.question(), "\n", sample.completion(), "\n"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Logs(const LogsOptions& options) {
  const absl::StatusOr<CandidateName> name = ParseCandidateName(options.candidate);
  if (!name.ok() || !name->number.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", options.candidate, "' is not JOB/CANDIDATE (a number); `merganser events ",
                     options.candidate.substr(0, options.candidate.find('/')), "` prints the whole job's log"));
  }
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  MG_ASSIGN_OR_RETURN(const v1::Job job, reader->GetJob(name->job));
  MG_ASSIGN_OR_RETURN(v1::Candidate candidate, reader->GetCandidate(job.id(), *name->number));
  candidate.clear_recipe();  // `export` and `best` have it
  candidate.clear_genome();
  if (PrintMessage(options.format, candidate)) return exit_code::kOk;
  PrintStory(candidate);
  if (options.samples) MG_RETURN_IF_ERROR(PrintSamples(*reader, candidate, job.id()));
  return exit_code::kOk;
}

}  // namespace

void AddLogsCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<LogsOptions>();
  CLI::App* verb =
      AddVerb(app, "logs", "Says what happened to a candidate: its attempts, failures in full, scores and times",
              "  merganser logs job-7/118\n  merganser logs ja-math/118 --samples --store sqlite:out/ja-math/run.db",
              options, &Logs, chosen);
  verb->add_option("JOB/CANDIDATE", options->candidate, "Id or name of the job, and the candidate's number")->required();
  verb->add_flag("--samples", options->samples, "Also each sample: the question, what the model said, how it was read");
  AddFormatOption(verb, &options->format);
  AddConnectionOptions(verb, &options->connection, /*with_store=*/true);
}

}  // namespace merganser

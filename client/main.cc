// The `merganser` command line. Verbs add themselves (verb.h); here they are parsed, run, and their
// errors printed.
#include <stdlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/completion_command.h"
#include "client/exit_code.h"
#include "client/json_output.h"
#include "client/logs_command.h"
#include "client/offline_verbs.h"
#include "client/print_message.h"
#include "client/store_command.h"
#include "client/verb.h"
#include "common/base/log.h"
#include "common/base/version.h"
#include "common/cli/man_page.h"
#include "common/cli/usage_error.h"

namespace merganser {
namespace {

struct VersionOptions {
  std::string format = "table";
};

absl::StatusOr<int> Version(const VersionOptions& options) {
  if (PrintJson(options.format, {{"version", kVersion}, {"evaluation_version", kEvaluationVersion}})) return exit_code::kOk;
  Print(absl::StrCat("merganser ", kVersion, "\n"));
  return exit_code::kOk;
}

void AddVersionCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<VersionOptions>();
  CLI::App* verb = AddVerb(app, "version", "Prints the version", "  merganser version -o json", options, &Version, chosen);
  AddFormatOption(verb, &options->format);
}

// Under which heading --help lists a verb.
const std::vector<std::pair<const char*, std::vector<const char*>>> kVerbGroups = {
    {"On one machine",
     {"validate", "run", "convert", "merge", "evaluate", "score", "generate", "serve", "bench", "pool", "replay"}},
    {"On a fleet", {"submit", "update", "pause", "resume", "cancel", "workers", "drain", "quarantine", "release"}},
    {"Of either; a run's with --store FOLDER",
     {"jobs", "describe", "candidates", "best", "events", "logs", "watch", "wait", "export", "report"}},
    {"Others", {"store", "version", "completion"}},
};

// What kubectl, Slurm, Optuna, mergekit and lm-evaluation-harness call them.
const ForeignVerbs kForeignVerbs = {
    {"apply", "submit"},  {"create", "submit"},   {"delete", "cancel"},     {"eval", "evaluate"},    {"get", "jobs"},
    {"kill", "cancel"},   {"list", "jobs"},       {"ls", "jobs"},           {"lm_eval", "evaluate"}, {"ps", "jobs"},
    {"queue", "jobs"},    {"resubmit", "update"}, {"rm", "cancel"},         {"sbatch", "submit"},    {"scancel", "cancel"},
    {"show", "describe"}, {"squeue", "jobs"},     {"start", "run"},         {"status", "describe"},  {"stop", "cancel"},
    {"tail", "watch"},    {"top", "workers"},     {"trials", "candidates"}, {"chat", "generate"},    {"nodes", "workers"},
    {"evolve", "run"},
};

// Whoever closed the pipe (`| head`) knows that it did not get all.
int WithWholeOutput(int code) {
  const int error = FlushStdout();
  if (error == 0 || error == EPIPE) return code;
  std::fprintf(stderr, "error: stdout: not everything could be written: %s\n", std::strerror(error));
  return code == exit_code::kOk ? exit_code::kJobFailed : code;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Merganser evolves model merges: it searches the space of merge recipes of your checkpoints "
      "for the one that does\n"
      "best on your benchmark, and writes it as a checkpoint.",
      "merganser");
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.require_subcommand(1);
  app.fallthrough();  // -v may stand behind the verb
  app.set_version_flag("--version", std::string("merganser ") + kVersion);
  app.footer(
      "\nExit codes: 0 ok, 1 job failed, 2 usage, 3 not found, 4 timeout, 5 permission, 6 "
      "unavailable.\n"
      "`merganser VERB --help` explains a verb and gives an example. Data goes to stdout, progress and errors to stderr;\n"
      "-o json and -o yaml are for scripts.");
  bool verbose = false;
  app.add_flag("-v,--verbose", verbose, "Log what happens inside to stderr");
  Action action;
  AddValidateCommand(app, &action);
  AddConvertCommand(app, &action);
  AddRunCommand(app, &action);
  AddMergeCommand(app, &action);
  AddEvaluateCommand(app, &action);
  AddScoreCommand(app, &action);
  AddGenerateCommand(app, &action);
  AddServeCommand(app, &action);
  AddBenchCommand(app, &action);
  AddPoolCommand(app, &action);
  AddReplayCommand(app, &action);
  AddServiceCommands(app, &action);
  AddWorkerCommands(app, &action);
  AddJobCommands(app, &action);
  AddWatchCommands(app, &action);
  AddExportCommand(app, &action);
  AddLogsCommand(app, &action);
  AddReportCommand(app, &action);
  AddStoreCommand(app, &action);
  AddVersionCommand(app, &action);
  AddCompletionCommand(app, &action);
  for (const auto& [group, verbs] : kVerbGroups) {
    for (const char* verb : verbs) app.get_subcommand(verb)->group(group);
  }
  if (PrintedManPage(app, argc, argv)) return exit_code::kOk;
  // `merganser help run` is `merganser run --help`.
  std::vector<const char*> words(argv, argv + argc);
  if (argc > 1 && std::string(argv[1]) == "help") {
    words.erase(words.begin() + 1);
    words.push_back("--help");
  }
  const int count = static_cast<int>(words.size());
  try {
    app.parse(count, words.data());
  } catch (const CLI::ParseError& e) {
    return ExplainParseError(app, e, count, words.data(), kForeignVerbs) ? exit_code::kOk : exit_code::kUsage;
  }
  if (!verbose) setenv("GRPC_VERBOSITY", "NONE", /*replace=*/0);  // the status says it, too
  SetLogLevel(verbose ? LogLevel::kInfo : LogLevel::kWarning);
  const absl::StatusOr<int> code = action();
  if (code.ok()) return *code;
  std::fprintf(stderr, "error: %s\n", std::string(code.status().message()).c_str());
  return exit_code::FromStatus(code.status());
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::WithWholeOutput(merganser::Main(argc, argv)); }

// The `merganser` command line. Verbs add themselves (verb.h); here they are parsed, run, and their
// errors printed.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/completion_command.h"
#include "client/exit_code.h"
#include "client/logs_command.h"
#include "client/message_json.h"
#include "client/offline_verbs.h"
#include "client/print_message.h"
#include "client/store_command.h"
#include "client/verb.h"
#include "common/base/closest_name.h"
#include "common/base/log.h"
#include "common/base/version.h"
#include "common/cli/man_page.h"

namespace merganser {
namespace {

struct VersionOptions {
  std::string format = "table";
};

absl::StatusOr<int> Version(const VersionOptions& options) {
  if (options.format == "table") {
    Print(absl::StrCat("merganser ", kVersion, "\n"));
  } else {
    Print(DumpJson({{"version", kVersion}, {"evaluation_version", kEvaluationVersion}}));
  }
  return exit_code::kOk;
}

void AddVersionCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<VersionOptions>();
  CLI::App* verb = AddVerb(app, "version", "Prints the version", "  merganser version -o json", options, &Version, chosen);
  verb->add_option("-o,--format", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

// What is wrong with the first word that is no flag, if it is no verb; CLI11 would only say that a verb is missing.
std::string UnknownVerb(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.empty() || word[0] == '-') continue;
    std::vector<std::string> verbs;
    for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) verbs.push_back(verb->get_name());
    if (std::find(verbs.begin(), verbs.end(), word) != verbs.end()) return "";
    return absl::StrCat("'", word, "' is no verb", DidYouMean(word, verbs), "; `merganser --help` lists them");
  }
  return "";
}

// What is wrong with the first flag that `verb` does not know; "" if it knows them all.
std::string UnknownFlag(const CLI::App& verb, int argc, char** argv) {
  std::vector<std::string> known;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back(absl::StrCat("--", name));
  }
  for (int i = 1; i < argc && std::string(argv[i]) != "--"; ++i) {
    const std::string word = argv[i], flag = word.substr(0, word.find('='));
    if (flag.rfind("--", 0) != 0 || std::find(known.begin(), known.end(), flag) != known.end()) continue;
    return absl::StrCat("'", flag, "' is no flag of `merganser ", verb.get_name(), "`", DidYouMean(flag, known),
                        "; `merganser ", verb.get_name(), " --help` lists them");
  }
  return "";
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Merganser evolves model merges: it searches the space of merge recipes of your checkpoints "
      "for the one that does\n"
      "best on your benchmark, and writes it as a checkpoint.\n\n"
      "On one machine:  pool, validate, run, replay, merge, evaluate, score, generate, serve, bench\n"
      "On a fleet:      submit, jobs, describe, watch, wait, candidates, best, events, logs, export, report, "
      "cancel, pause, resume, update, workers, drain, quarantine, release\n"
      "Stores:          store verify, store backup, store restore, store migrate",
      "merganser");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("merganser ") + kVersion);
  app.footer(
      "\nExit codes: 0 ok, 1 job failed, 2 usage, 3 not found, 4 timeout, 5 permission, 6 "
      "unavailable.\n"
      "`merganser VERB --help` explains a verb and gives an example.");
  bool verbose = false;
  app.add_flag("-v,--verbose", verbose, "Log what happens inside to stderr");
  Action action;
  AddValidateCommand(app, &action);
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
  if (PrintedManPage(app, argc, argv)) return exit_code::kOk;
  if (const std::string unknown = UnknownVerb(app, argc, argv); !unknown.empty()) {
    std::fprintf(stderr, "error: %s\n", unknown.c_str());
    return exit_code::kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError& e) {
    const std::string unknown = UnknownFlag(*app.get_subcommands().front(), argc, argv);
    std::fprintf(stderr, "error: %s\n", unknown.empty() ? e.what() : unknown.c_str());
    return exit_code::kUsage;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? exit_code::kOk : exit_code::kUsage;
  }
  SetLogLevel(verbose ? LogLevel::kInfo : LogLevel::kWarning);
  const absl::StatusOr<int> code = action();
  if (code.ok()) return *code;
  std::fprintf(stderr, "error: %s\n", std::string(code.status().message()).c_str());
  return exit_code::FromStatus(code.status());
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }

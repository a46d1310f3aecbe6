// How verbs reach main(): each family of verbs adds itself to the parser; the verb that was typed
// becomes the action.
#ifndef MERGANSER_CLIENT_VERB_H_
#define MERGANSER_CLIENT_VERB_H_

#include <functional>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"

namespace merganser {

// Runs the verb; the value is the exit code (exit_code.h), an error is printed by main().
using Action = std::function<absl::StatusOr<int>()>;

// A verb with its one-line purpose and an example, whose options live in `options` until it has
// run.
template <typename Options>
CLI::App* AddVerb(CLI::App& app, const std::string& name, const std::string& purpose, const std::string& examples,
                  const std::shared_ptr<Options>& options, absl::StatusOr<int> (*run)(const Options&), Action* chosen) {
  CLI::App* verb = app.add_subcommand(name, purpose);
  verb->footer("\nExamples:\n" + examples);
  verb->callback([options, run, chosen] { *chosen = [options, run] { return run(*options); }; });
  return verb;
}

// -o table|json|yaml into `format`, which holds the default.
inline void AddFormatOption(CLI::App* verb, std::string* format) {
  verb->add_option("-o,--format", *format, "table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->capture_default_str();
}

// The families; each names its verbs.
void AddRunCommand(CLI::App& app, Action* chosen);
void AddValidateCommand(CLI::App& app, Action* chosen);
void AddConvertCommand(CLI::App& app, Action* chosen);
void AddServiceCommands(CLI::App& app, Action* chosen);  // submit cancel pause resume update
void AddWorkerCommands(CLI::App& app, Action* chosen);   // workers drain quarantine release
void AddJobCommands(CLI::App& app, Action* chosen);      // jobs describe candidates best events
void AddWatchCommands(CLI::App& app, Action* chosen);    // watch wait
void AddExportCommand(CLI::App& app, Action* chosen);
void AddReportCommand(CLI::App& app, Action* chosen);
void AddMergeCommand(CLI::App& app, Action* chosen);
void AddEvaluateCommand(CLI::App& app, Action* chosen);
void AddScoreCommand(CLI::App& app, Action* chosen);
void AddGenerateCommand(CLI::App& app, Action* chosen);
void AddServeCommand(CLI::App& app, Action* chosen);
void AddBenchCommand(CLI::App& app, Action* chosen);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_VERB_H_

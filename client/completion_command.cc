#include "client/completion_command.h"

#include <memory>
#include <string>

#include "client/exit_code.h"
#include "client/print_message.h"
#include "common/cli/command_line.h"
#include "common/cli/completion.h"

namespace merganser {
namespace {

struct CompletionOptions {
  const CLI::App* program = nullptr;
  std::string shell;
};

absl::StatusOr<int> Completion(const CompletionOptions& options) {
  const Shell shell = options.shell == "bash" ? Shell::kBash : options.shell == "zsh" ? Shell::kZsh : Shell::kFish;
  Print(CompletionScript(DescribeCommandLine(*options.program), shell));
  return exit_code::kOk;
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<CompletionOptions>();
  options->program = &app;
  CLI::App* verb = AddVerb(app, "completion", "Prints a script that completes verbs, flags and jobs in a shell",
                           "  source <(merganser completion bash)          # or zsh; in ~/.bashrc to have it always\n"
                           "  merganser completion fish | source",
                           options, &Completion, chosen);
  verb->add_option("SHELL", options->shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

}  // namespace merganser

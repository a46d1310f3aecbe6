// generate: one prompt through one checkpoint.
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/local_options.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/cli/number_checks.h"

namespace merganser {
namespace {

struct GenerateOptions {
  GenerateRequest request;
  LocalOptions local;
};

absl::StatusOr<int> Generate(const GenerateOptions& options) {
  Interrupt interrupt("stopped");
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  const absl::StatusOr<GenerateResult> result = library->Generate(options.request, options.local, interrupt.token());
  if (interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
  if (!result.ok()) return AtModelArgument(result.status());
  Print(absl::StrCat(result->text, "\n"));
  const double seconds = result->prefill_seconds + result->decode_seconds;
  std::cerr << absl::StrFormat("%d prompt tokens, %d new tokens (%s) in %.2f s\n", result->prompt_tokens,
                               result->generated_tokens, result->finish_reason, seconds);
  return exit_code::kOk;
}

}  // namespace

void AddGenerateCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* verb = AddVerb(app, "generate", "Completes a prompt with a checkpoint",
                           "  merganser generate out/ja-math/best --prompt $'Q: ...\\nA:\\n' --max-new-tokens 36\n"
                           "  merganser generate org/name --chat --prompt 'Hello'\n"
                           "  merganser generate org/llava --chat --image photo.jpg --prompt 'What is this?' --beams 5",
                           options, &Generate, chosen);
  verb->add_option("MODEL", options->request.model,
                   "Directory, or a Hub id (org/name), which is downloaded if the local cache lacks it")
      ->required();
  verb->add_option("--prompt", options->request.prompt, "The text")->required();
  verb->add_option(
          "--image", options->request.images,
          "JPEG or PNG file for a model that sees (repeatable); stands where the prompt says <image>, else before it")
      ->check(CLI::ExistingFile);
  verb->add_flag("--chat", options->request.chat, "Through the checkpoint's chat template");
  verb->add_option("--system", options->request.system, "System message (with --chat)");
  verb->add_option("--max-new-tokens", options->request.max_new_tokens, "Tokens")
      ->check(PositiveNumber())
      ->capture_default_str();
  verb->add_option("--stop", options->request.stop, "End at this text (repeatable)");
  verb->add_option("--temperature", options->request.temperature, "Draw tokens at this temperature; 0: greedy")
      ->check(NonNegativeNumber())
      ->capture_default_str();
  verb->add_option("--top-k", options->request.top_k, "Draw among the k most likely tokens; 0: all")
      ->check(NonNegativeNumber())
      ->capture_default_str();
  verb->add_option("--top-p", options->request.top_p, "Draw among the fewest tokens whose probabilities reach it")
      ->capture_default_str();
  verb->add_option("--seed", options->request.seed, "Of the draws")->capture_default_str();
  verb->add_option("--beams", options->request.beams, "Beam search")->check(PositiveNumber())->capture_default_str();
  verb->add_option("--repetition-penalty", options->request.repetition_penalty,
                   "Divides (or multiplies, if negative) the scores of tokens that occurred")
      ->check(PositiveNumber())
      ->capture_default_str();
  AddLocalOptions(verb, &options->local);
}

}  // namespace merganser

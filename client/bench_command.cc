// bench: how fast the engine runs a checkpoint here.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/json_output.h"
#include "client/local_options.h"
#include "client/output.h"
#include "client/print_message.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/cli/number_checks.h"

namespace merganser {
namespace {

struct BenchOptions {
  BenchRequest request;
  LocalOptions local;
  std::string format = "table";
};

Json BenchJson(const BenchResult& r) {
  return {{"engine", r.engine},
          {"parameters", r.parameters},
          {"prompt_tokens", r.prompt_tokens},
          {"generated_tokens", r.generated_tokens},
          {"load_seconds", r.load_seconds},
          {"seconds", r.seconds},
          {"prefill_seconds", r.prefill_seconds},
          {"decode_seconds", r.decode_seconds},
          {"limit_seconds", r.limit_seconds}};
}

std::string Text(const BenchResult& r) {
  const auto rate = [](int64_t tokens, double seconds) {
    return absl::StrFormat("%.0f", seconds > 0 ? static_cast<double>(tokens) / seconds : 0);
  };
  Table table({"phase", ">tokens", ">seconds", ">tokens/s"});
  table.Add({"prefill", FormatCount(r.prompt_tokens), absl::StrFormat("%.3f", r.prefill_seconds),
             rate(r.prompt_tokens, r.prefill_seconds)});
  table.Add({"decode", FormatCount(r.generated_tokens), absl::StrFormat("%.3f", r.decode_seconds),
             rate(r.generated_tokens, r.decode_seconds)});
  table.Add({"together", FormatCount(r.generated_tokens), absl::StrFormat("%.3f", r.seconds),
             rate(r.generated_tokens, r.seconds)});
  return absl::StrFormat(
      "%s, %s parameters, weights loaded in %.3f s\n%sthe matrix products alone take %.3f s: %s of the limit\n", r.engine,
      FormatCount(r.parameters), r.load_seconds, table.Render(), r.limit_seconds,
      FormatPercent(r.seconds > 0 ? r.limit_seconds / r.seconds : 0));
}

absl::StatusOr<int> Bench(const BenchOptions& options) {
  Interrupt interrupt("stopped");
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  const absl::StatusOr<BenchResult> result = library->Bench(options.request, options.local, interrupt.token());
  if (interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
  if (!result.ok()) return AtModelArgument(result.status());
  if (!PrintJson(options.format, BenchJson(*result))) Print(Text(*result));
  return exit_code::kOk;
}

}  // namespace

void AddBenchCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* verb =
      AddVerb(app, "bench", "Measures how fast the engine runs a checkpoint on this machine",
              "  merganser bench org/name --sequences 64 --prompt-tokens 64 --new-tokens 64", options, &Bench, chosen);
  BenchRequest& request = options->request;
  verb->add_option("MODEL", request.model,
                   "Directory, or a Hub id (org/name), which is downloaded if the local cache lacks it")
      ->required();
  const auto number = [&](const char* flag, int64_t* value, const char* meaning) {
    verb->add_option(flag, *value, meaning)->check(PositiveNumber())->capture_default_str();
  };
  number("--sequences", &request.sequences, "Random prompts that are generated together");
  number("--prompt-tokens", &request.prompt_tokens, "Tokens of each prompt");
  number("--new-tokens", &request.new_tokens, "Tokens that each prompt gets");
  number("--repetitions", &request.repetitions, "Runs, of which the fastest counts");
  AddFormatOption(verb, &options->format);
  AddLocalOptions(verb, &options->local);
}

}  // namespace merganser

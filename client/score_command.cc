// score: stored completions once more, no model.
#include <filesystem>
#include <memory>
#include <string>

#include "client/exit_code.h"
#include "client/local_options.h"
#include "client/results_output.h"
#include "client/verb.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

struct ScoreOptions {
  std::string benchmark_file, completions, output, format = "table";
  LocalOptions local;
};

absl::StatusOr<int> ScoreFile(const ScoreOptions& options) {
  BenchmarkSpec benchmark;
  benchmark.name = std::filesystem::path(options.benchmark_file).stem().string();
  benchmark.use = std::filesystem::absolute(options.benchmark_file).string();
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  const absl::StatusOr<std::string> results = library->Score(benchmark, options.completions, options.local.allow_commands);
  if (!results.ok()) return results.status();
  return WriteResults({{"", *results}}, options.output, options.format);
}

}  // namespace

void AddScoreCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* verb =
      AddVerb(app, "score", "Scores stored completions by a benchmark's rules, without a model",
              "  merganser score mgsm_ja.yaml completions.jsonl --output results.json", options, &ScoreFile, chosen);
  verb->add_option("BENCHMARK.yaml", options->benchmark_file,
                   "A benchmark: `use: mgsm_ja`, or any of its fields (docs/benchmarks.md)")
      ->required();
  verb->add_option("COMPLETIONS.jsonl", options->completions,
                   "An object a line with `completion` and `answer`; of code, `task_id`")
      ->required();
  AddCommandOption(verb, &options->local);
  AddResultsOptions(verb, &options->output, &options->format);
}

}  // namespace merganser

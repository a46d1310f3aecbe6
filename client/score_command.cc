// score: stored completions once more, no model.
#include <filesystem>
#include <memory>
#include <string>

#include "client/exit_code.h"
#include "client/local_options.h"
#include "client/results_output.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/codec/job_spec_codec.h"
#include "common/config/yaml_message.h"

namespace merganser {
namespace {

struct ScoreOptions {
  std::string benchmark_file, completions, output, format = "table";
};

absl::StatusOr<int> ScoreFile(const ScoreOptions& options) {
  v1::Benchmark proto;
  MG_ASSIGN_OR_RETURN(const SourceMap source, ReadYamlFile(options.benchmark_file, &proto));
  const BenchmarkSpec benchmark = FromProto(proto, std::filesystem::path(options.benchmark_file).stem().string());
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  const absl::StatusOr<std::string> results = library->Score(benchmark, options.completions);
  if (!results.ok()) return source.Locate(results.status());
  return WriteResults({{"", *results}}, options.output, options.format, *library);
}

}  // namespace

void AddScoreCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* verb =
      AddVerb(app, "score", "Scores stored completions by a benchmark's rules, without a model",
              "  merganser score mgsm_ja.yaml completions.jsonl --output results.json", options, &ScoreFile, chosen);
  verb->add_option("BENCHMARK.yaml", options->benchmark_file, "As an entry of a job's `benchmarks`: {use: mgsm_ja}")
      ->required();
  verb->add_option("COMPLETIONS.jsonl", options->completions, "An object a line with `completion` and `answer`")->required();
  AddResultsOptions(verb, &options->output, &options->format);
}

}  // namespace merganser

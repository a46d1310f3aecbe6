// evaluate: checkpoints on benchmarks, as they are.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/evaluate_file.h"
#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/local_options.h"
#include "client/results_output.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {
namespace {

struct EvaluateOptions {
  std::string config, output, format = "table";
  uint64_t seed = 42;
  LocalOptions local;
};

absl::StatusOr<int> Evaluate(const EvaluateOptions& options) {
  Interrupt interrupt("stopped; nothing is written");
  MG_RETURN_IF_ERROR(CheckOutput(options.output));
  MG_ASSIGN_OR_RETURN(const EvaluateFile file, ReadEvaluateFile(options.config));
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  MG_ASSIGN_OR_RETURN(const auto evaluator, library->CreateEvaluator(options.local));
  std::vector<std::string> names;
  for (const BenchmarkSpec& b : file.benchmarks) names.push_back(b.name);
  std::vector<std::pair<std::string, std::string>> results;
  std::vector<std::vector<BenchmarkResult>> evaluations;
  for (const ModelRef& model : file.models) {
    // A job of one model, so that models of different families can be compared in one call.
    JobSpec spec;
    spec.name = "evaluate";
    spec.models = {model};
    spec.parameter.method = "linear";
    spec.parameter.sources = {model.name};
    spec.dtype = file.dtype;
    spec.benchmarks = file.benchmarks;
    const auto say = [&](absl::string_view phase) { std::cerr << model.name << ": " << phase << std::endl; };
    absl::StatusOr<Evaluation> evaluation =
        evaluator->Evaluate(spec, SourceRecipe(spec, model.name), names, say, interrupt.token());
    if (interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
    if (!evaluation.ok()) return file.source.Locate(evaluation.status());
    results.emplace_back(model.name, library->ResultsJson(evaluation->results));
    evaluations.push_back(std::move(evaluation->results));
  }
  ResultsComparison comparison{options.seed, {}};
  if (file.models.size() > 1) {
    MG_ASSIGN_OR_RETURN(comparison.benchmarks, library->Compare(file.benchmarks, evaluations, options.seed));
  }
  return WriteResults(results, options.output, options.format, comparison);
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* verb = AddVerb(app, "evaluate", "Scores checkpoints on benchmarks, and tests whether they differ",
                           "  merganser evaluate config.yaml --output results.json\n\n"
                           "config.yaml:\n"
                           "  models: {mine: {path: out/ja-math/best}}\n"
                           "  benchmarks: {mgsm: {use: mgsm_ja, data: mgsm_ja.tsv}}",
                           options, &Evaluate, chosen);
  verb->add_option("CONFIG.yaml", options->config, "Models and benchmarks")->required();
  AddResultsOptions(verb, &options->output, &options->format);
  verb->add_option("--seed", options->seed, "Of the paired bootstrap that compares several models")->capture_default_str();
  AddLocalOptions(verb, &options->local);
  AddMergeOptions(verb, &options->local);
  AddCommandOption(verb, &options->local);
}

}  // namespace merganser

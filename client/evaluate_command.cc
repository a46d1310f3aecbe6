// evaluate: checkpoints on benchmarks, as they are.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/local_options.h"
#include "client/results_output.h"
#include "client/verb.h"
#include "common/base/status_macros.h"
#include "common/codec/job_spec_codec.h"
#include "common/config/job_file.h"
#include "common/config/yaml_message.h"
#include "coordinator/search_space/parameter_space.h"
#include "merganser/v1/evaluate.pb.h"

namespace merganser {
namespace {

struct EvaluateOptions {
  std::string config, output, format = "table";
  LocalOptions local;
};

struct EvaluateFile {
  SourceMap source;
  std::vector<ModelRef> models;
  std::vector<BenchmarkSpec> benchmarks;
  std::string dtype;
};

absl::StatusOr<EvaluateFile> ReadEvaluateFile(const std::string& path) {
  v1::EvaluateConfig proto;
  EvaluateFile file;
  MG_ASSIGN_OR_RETURN(file.source, ReadYamlFile(path, &proto));
  if (proto.models().empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": models: none is named"));
  if (proto.benchmarks().empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": benchmarks: none is named"));
  // By name, so that the order does not depend on how protobuf hashes.
  std::map<std::string, v1::Model> models(proto.models().begin(), proto.models().end());
  for (const auto& [name, model] : models) file.models.push_back({name, model.path()});
  std::map<std::string, v1::Benchmark> benchmarks(proto.benchmarks().begin(), proto.benchmarks().end());
  for (const auto& [name, benchmark] : benchmarks) file.benchmarks.push_back(FromProto(benchmark, name));
  file.dtype = proto.dtype().empty() ? "bfloat16" : proto.dtype();
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveModelPaths(path, &file.models)));
  MG_RETURN_IF_ERROR(file.source.Locate(ResolveDataPaths(path, "benchmarks", &file.benchmarks)));
  return file;
}

absl::StatusOr<int> Evaluate(const EvaluateOptions& options) {
  Interrupt interrupt("stopped; nothing is written");
  MG_ASSIGN_OR_RETURN(const EvaluateFile file, ReadEvaluateFile(options.config));
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  MG_ASSIGN_OR_RETURN(const auto evaluator, library->CreateEvaluator(options.local));
  std::vector<std::string> names;
  for (const BenchmarkSpec& b : file.benchmarks) names.push_back(b.name);
  std::vector<std::pair<std::string, std::string>> results;
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
    const absl::StatusOr<Evaluation> evaluation =
        evaluator->Evaluate(spec, SourceRecipe(spec, model.name), names, say, interrupt.token());
    if (interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
    if (!evaluation.ok()) return file.source.Locate(evaluation.status());
    results.emplace_back(model.name, library->ResultsJson(evaluation->results));
  }
  return WriteResults(results, options.output, options.format, *library);
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Action* chosen) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* verb = AddVerb(app, "evaluate", "Scores checkpoints on benchmarks",
                           "  merganser evaluate config.yaml --output results.json\n\n"
                           "config.yaml:\n"
                           "  models: {mine: {path: out/ja-math/best}}\n"
                           "  benchmarks: {mgsm: {use: mgsm_ja, data: mgsm_ja.tsv}}",
                           options, &Evaluate, chosen);
  verb->add_option("CONFIG.yaml", options->config, "Models and benchmarks")->required();
  AddResultsOptions(verb, &options->output, &options->format);
  AddLocalOptions(verb, &options->local);
  AddCommandOption(verb, &options->local);
}

}  // namespace merganser

#include "worker/evaluate/local_library.h"

#include <cstring>

#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/comparison.h"
#include "worker/benchmark/results_json.h"
#include "worker/benchmark/score_command.h"
#include "worker/benchmark/setting_place.h"
#include "worker/benchmark/wilson.h"
#include "worker/evaluate/bench.h"
#include "worker/evaluate/command_benchmark.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/export.h"
#include "worker/evaluate/generate.h"
#include "worker/evaluate/local_evaluator.h"
#include "worker/evaluate/serve.h"

namespace merganser {
namespace {

class Library : public LocalLibrary {
 public:
  absl::StatusOr<std::unique_ptr<CandidateEvaluator>> CreateEvaluator(const LocalOptions& options) override {
    LocalOptions resolved = options;
    MG_ASSIGN_OR_RETURN(resolved.device, DeviceOf(options));
    return std::unique_ptr<CandidateEvaluator>(std::make_unique<LocalEvaluator>(resolved));
  }

  absl::StatusOr<ExportFacts> Export(const ExportRequest& request, const LocalOptions& options,
                                     std::stop_token stop) override {
    return ExportRecipe(request, options, stop);
  }

  absl::StatusOr<GenerateResult> Generate(const GenerateRequest& request, const LocalOptions& options,
                                          std::stop_token stop) override {
    return GenerateOnce(request, options, stop);
  }

  absl::Status Serve(const ServeRequest& request, const LocalOptions& options, std::stop_token stop) override {
    return ServeModel(request, options, stop);
  }

  absl::StatusOr<BenchResult> Bench(const BenchRequest& request, const LocalOptions& options,
                                    std::stop_token stop) override {
    return BenchModel(request, options, stop);
  }

  absl::StatusOr<std::string> Score(const BenchmarkSpec& benchmark, const std::string& completions_path,
                                    bool allow_commands) override {
    const absl::StatusOr<BenchmarkDefinition> definition = ResolveBenchmark(benchmark);
    MG_RETURN_IF_ERROR(AtBenchmarkFile(definition.status(), SettingsOf(benchmark)));
    ScorerOptions options;
    options.allow_commands = allow_commands;
    const absl::StatusOr<ScoredCompletions> scored = ScoreCompletions(*definition, completions_path, options);
    MG_RETURN_IF_ERROR(AtBenchmarkFile(scored.status(), SettingsOf(benchmark)));
    return merganser::ResultsJson(absl::MakeConstSpan(&*scored, 1));
  }

  std::string ResultsJson(const std::vector<BenchmarkResult>& results) override { return merganser::ResultsJson(results); }

  absl::StatusOr<std::map<std::string, std::vector<PairedDifference>>> Compare(
      const std::vector<BenchmarkSpec>& benchmarks, const std::vector<std::vector<BenchmarkResult>>& models,
      uint64_t seed) override {
    const std::vector<BenchmarkSettings> settings = SettingsOf(benchmarks);
    std::map<std::string, std::vector<PairedDifference>> all;
    for (size_t i = 0; i < benchmarks.size(); ++i) {
      if (IsCommand(benchmarks[i])) continue;
      MG_ASSIGN_OR_RETURN(const ResolvedBenchmark resolved, ResolveWithParts(settings[i], settings));
      std::vector<const BenchmarkResult*> results;
      for (const auto& model : models) {
        for (const BenchmarkResult& result : model) {
          if (result.benchmark == benchmarks[i].name) results.push_back(&result);
        }
      }
      MG_ASSIGN_OR_RETURN(all[benchmarks[i].name], merganser::Compare(resolved, results, seed));
    }
    return all;
  }

  std::pair<double, double> WilsonInterval(double successes, int64_t n) override {
    const ProportionInterval interval = merganser::WilsonInterval(successes, n);
    return {interval.low, interval.high};
  }
};

}  // namespace
}  // namespace merganser

extern "C" __attribute__((visibility("default"))) merganser::LocalLibrary* merganser_local_library(
    const char* version, merganser::LogLevel level) {
  if (std::strcmp(version, merganser::kVersion) != 0) return nullptr;
  merganser::SetLogLevel(level);
  static auto* const library = new merganser::Library;
  return library;
}

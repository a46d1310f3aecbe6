// A benchmark that a user's program scores: against the model's endpoint, or over its directory.
#ifndef MERGANSER_WORKER_EVALUATE_COMMAND_BENCHMARK_H_
#define MERGANSER_WORKER_EVALUATE_COMMAND_BENCHMARK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/benchmark.h"
#include "common/domain/evaluation.h"
#include "common/domain/recipe.h"
#include "worker/command/command_file.h"
#include "worker/engine/serving_engine.h"
#include "worker/evaluate/local_library.h"
#include "worker/serve/served_model.h"

namespace merganser {

// `use: command`: then `data` is a file as ReadCommandFile reads it, and nothing else may be set.
bool IsCommand(const BenchmarkSpec& spec);

// Immutable; one run at a time.
class CommandBenchmark {
 public:
  // PermissionDenied unless LocalOptions::allow_commands. Errors of ReadCommandFile and FindProgram; InvalidArgument for a
  // setting that commands have no use for.
  static absl::StatusOr<std::unique_ptr<CommandBenchmark>> Create(const BenchmarkSpec& spec, const LocalOptions& options);

  CommandModel model() const { return file_.model; }
  int64_t max_length() const { return file_.max_length; }
  const std::vector<std::string>& metrics() const { return file_.metrics; }

  // Serves `model` with `engine` (which has its weights, and runs on the calling thread) at an address of this machine,
  // under a key of its own, while the program runs. It sees MERGANSER_BASE_URL and OPENAI_BASE_URL, MERGANSER_API_KEY and
  // OPENAI_API_KEY, and MERGANSER_MODEL, the name for requests. Errors of RunProgram and ReadProgramScore, of the address
  // and of the engine; they name the benchmark.
  absl::StatusOr<BenchmarkResult> RunAtEndpoint(const ServedModel& model, ServingEngine& engine, std::stop_token stop) const;
  // It sees MERGANSER_MODEL_DIR. Errors as above.
  absl::StatusOr<BenchmarkResult> RunOn(const std::string& model_dir, std::stop_token stop) const;

 private:
  CommandBenchmark(std::string name, CommandFile file) : name_(std::move(name)), file_(std::move(file)) {}
  absl::StatusOr<BenchmarkResult> Run(std::map<std::string, std::string> env, std::stop_token stop) const;

  const std::string name_;
  const CommandFile file_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_COMMAND_BENCHMARK_H_

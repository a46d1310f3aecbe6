#include "worker/evaluate/command_benchmark.h"

#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "worker/command/program_score.h"
#include "worker/serve/api_server.h"

namespace merganser {
namespace {

constexpr int kQueue = 1 << 16;

std::string NewKey() {
  std::random_device random;
  return absl::StrFormat("mg-%08x%08x%08x%08x", random(), random(), random(), random());
}

absl::StatusOr<BenchmarkResult> Named(absl::StatusOr<BenchmarkResult> result, const std::string& benchmark) {
  if (!result.ok()) return Annotate(result.status(), absl::StrCat("benchmark '", benchmark, "'"));
  return result;
}

}  // namespace

bool IsCommand(const BenchmarkSpec& spec) { return spec.use == "command"; }

absl::StatusOr<std::unique_ptr<CommandBenchmark>> CommandBenchmark::Create(const BenchmarkSpec& spec,
                                                                           const LocalOptions& options) {
  if (!options.allow_commands) {
    return absl::PermissionDeniedError(
        "a command runs a program of the job's author, which this worker's operator has not allowed: start it with "
        "--allow-commands");
  }
  BenchmarkSpec plain;
  plain.name = spec.name;
  plain.use = spec.use;
  plain.data = spec.data;
  if (!(spec == plain)) return absl::InvalidArgumentError("a command has no setting but data, its file");
  MG_ASSIGN_OR_RETURN(CommandFile file, ReadCommandFile(spec.data));
  const absl::Status there = FindProgram(file.program.argv[0], file.program.directory).status();
  if (!there.ok()) return absl::Status(there.code(), absl::StrCat(spec.data, ": run: ", there.message()));
  return std::unique_ptr<CommandBenchmark>(new CommandBenchmark(spec.name, std::move(file)));
}

absl::StatusOr<BenchmarkResult> CommandBenchmark::Run(std::map<std::string, std::string> env, std::stop_token stop) const {
  Program program = file_.program;
  for (const auto& [name, value] : file_.program.env) env[name] = value;
  program.env = std::move(env);
  BenchmarkResult result;
  result.benchmark = name_;
  const absl::StatusOr<ProgramOutcome> outcome = RunProgram(program, stop);
  if (!outcome.ok()) return outcome.status();
  MG_ASSIGN_OR_RETURN(result.metrics, ReadProgramScore(outcome->output));
  return result;
}

absl::StatusOr<BenchmarkResult> CommandBenchmark::RunAtEndpoint(const ServedModel& model, ServingEngine& engine,
                                                                std::stop_token stop) const {
  const std::string key = NewKey();
  RequestQueue queue(kQueue);
  MG_ASSIGN_OR_RETURN(const auto server, ApiServer::Start({.api_key = key}, model, queue));
  const std::string url = server->base_url();
  std::stop_source served;
  absl::StatusOr<BenchmarkResult> result = absl::InternalError("the program did not run");
  absl::Status engine_status;
  {
    const std::jthread program([&] {
      result = Run({{"MERGANSER_BASE_URL", url},
                    {"OPENAI_BASE_URL", url},
                    {"MERGANSER_API_KEY", key},
                    {"OPENAI_API_KEY", key},
                    {"MERGANSER_MODEL", model.names[0]}},
                   stop);
      served.request_stop();
    });
    engine_status = engine.Serve(queue, served.get_token());
    queue.Close();  // the server's threads wait for answers
  }
  MG_RETURN_IF_ERROR(engine_status);
  return Named(std::move(result), name_);
}

absl::StatusOr<BenchmarkResult> CommandBenchmark::RunOn(const std::string& model_dir, std::stop_token stop) const {
  return Named(Run({{"MERGANSER_MODEL_DIR", model_dir}}, stop), name_);
}

}  // namespace merganser

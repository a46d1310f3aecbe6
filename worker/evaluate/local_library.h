// Everything that runs models, behind one door that knows no torch: the shared library libmerganser-local.so, loaded on
// first use by the worker and by the command line's local verbs, so that other verbs and the coordinator start without it.
#ifndef MERGANSER_WORKER_EVALUATE_LOCAL_LIBRARY_H_
#define MERGANSER_WORKER_EVALUATE_LOCAL_LIBRARY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/log.h"
#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "worker/benchmark/paired_statistics.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

// Of --cuda-graphs.
inline constexpr char kCudaGraphsHelp[] =
    "on a GPU: decode steps as CUDA graphs (never run on a device yet: docs/engine.md)";

struct LocalOptions {
  std::string device = "auto";  // "auto" (CUDA device 0 if there is one), "cpu", "cuda:N"
  // "auto", "fp32", "bf16" (on the CPU: bf16 products with fp32 sums) or "fp16" (on a GPU)
  std::string compute = "auto";
  bool cuda_graphs = false;  // EngineOptions::cuda_graphs
  int threads = 0;           // CPU threads; 0: all processors that the process may use
  // Where candidates are merged: "host" (by the CPU), "device" (in the device's memory), "auto" ("device" on a GPU, else
  // "host").
  std::string merge = "auto";
  // Most MiB of the device's memory that sources stay in where it merges, the others stream. Unset: what is free and not
  // among what arena and engine take, less a tenth (0 where this libtorch cannot tell); on the CPU, in whose memory they
  // are, all.
  std::optional<int64_t> merge_resident_mib;
  // Whether the next candidate's weights are merged beside the evaluation of the one before: "on" (where there is room for a
  // second copy of them), "off", "auto" (as "on", if the engine's device is a GPU).
  std::string merge_ahead = "auto";
  int max_sequences = 0;                 // generated together; 0: the engine's default
  bool allow_commands = false;           // benchmarks may run programs that a job names
  std::vector<std::string> model_roots;  // models must lie within one of these; empty: anywhere
};

// A merged checkpoint to be written.
struct ExportRequest {
  Recipe recipe;
  std::string out_dir;
  bool overwrite = false;
  std::map<std::string, std::string> text_files;  // recipe.yaml, README.md; mergekit.yaml is added where it can be said
  int64_t max_shard_bytes = 5'000'000'000;        // a file of weights is begun anew before it grows beyond this
  // "": an ordinary checkpoint, a path's scales folded into its weights; "evomistral": distinct layers with the path beside
  // them (EvoMistralForCausalLM).
  std::string form;
  bool digest = false;                                                    // compute ExportFacts::weights_sha256
  std::function<void(int64_t done_bytes, int64_t total_bytes)> progress;  // may be null
};

struct ExportFacts {
  std::string out_dir;
  int64_t bytes = 0;
  int64_t parameters = 0;
  std::string weights_sha256;    // "" if not asked for
  std::string no_mergekit_yaml;  // why there is none; "" if it was written
  double seconds = 0;
};

struct GenerateRequest {
  std::string model;  // directory or Hub id
  std::string prompt;
  std::string system;
  // JPEG and PNG files, for the prompt's "<image>"s in order; those without one are put before it.
  std::vector<std::string> images;
  bool chat = false;  // through the checkpoint's chat template
  int max_new_tokens = 256;
  std::vector<std::string> stop;
  double temperature = 0;  // 0: greedy
  int top_k = 0;           // 0: all
  double top_p = 1;
  double repetition_penalty = 1;
  uint64_t seed = 0;
  int beams = 1;
};

struct GenerateResult {
  std::string text;
  std::string finish_reason;  // "eos", "stop", "length"
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
};

struct BenchRequest {
  std::string model;  // directory or Hub id
  int64_t sequences = 64;
  int64_t prompt_tokens = 64;  // of each sequence
  int64_t new_tokens = 64;     // of each sequence
  int64_t repetitions = 3;     // of which the fastest counts
  uint64_t seed = 0;           // of the prompts
};

struct BenchResult {
  std::string engine;  // "fp32 on cpu (avx2, 2 threads)"
  int64_t parameters = 0;
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double load_seconds = 0;  // weights to the engine's layout
  double seconds = 0;       // of generation
  double prefill_seconds = 0, decode_seconds = 0;
  // What the same matrix products, weights read included, take by themselves on this machine.
  double limit_seconds = 0;
};

struct ServeFacts {
  std::string base_url;  // "http://127.0.0.1:8000/v1"
  std::string model;     // the name that requests use
  std::string engine;    // "fp32 on cpu (avx2, 2 threads)"
  int64_t max_length = 0;
  int max_sequences = 0;
};

struct ServeRequest {
  std::string model;  // directory or Hub id
  std::string name;   // that requests use; "": the last part of `model`. `model` itself is always known, too
  std::string host = "127.0.0.1";
  int port = 8000;                               // 0: any that is free
  std::string api_key;                           // that requests must bear; "": none
  int64_t max_length = 0;                        // positions of a prompt with its new tokens; 0: the model's, at most 4096
  int queue = 4096;                              // completions that may wait
  int connections = 64;                          // requests that are answered at a time
  std::function<void(const ServeFacts&)> ready;  // called once, when the endpoint listens; may be null
};

// One per process; any thread.
class LocalLibrary {
 public:
  virtual ~LocalLibrary() = default;

  virtual absl::StatusOr<std::unique_ptr<CandidateEvaluator>> CreateEvaluator(const LocalOptions& options) = 0;
  // Merges and writes a Hugging Face directory (all of it, or nothing). Errors name file, tensor or parameter.
  virtual absl::StatusOr<ExportFacts> Export(const ExportRequest& request, const LocalOptions& options,
                                             std::stop_token stop) = 0;
  virtual absl::StatusOr<GenerateResult> Generate(const GenerateRequest& request, const LocalOptions& options,
                                                  std::stop_token stop) = 0;
  // An OpenAI-compatible endpoint of a checkpoint, until `stop` is requested. InvalidArgument, NotFound: the model or an
  // option; Unavailable: the address.
  virtual absl::Status Serve(const ServeRequest& request, const LocalOptions& options, std::stop_token stop) = 0;
  // Tokens per second, and the share of what the machine's matrix products allow.
  virtual absl::StatusOr<BenchResult> Bench(const BenchRequest& request, const LocalOptions& options,
                                            std::stop_token stop) = 0;
  // Re-scores stored completions; the results file (JSON). `allow_commands`: completions that are programs may be run.
  virtual absl::StatusOr<std::string> Score(const BenchmarkSpec& benchmark, const std::string& completions_path,
                                            bool allow_commands) = 0;
  // The results file (JSON) of an evaluation.
  virtual std::string ResultsJson(const std::vector<BenchmarkResult>& results) = 0;
  // Every pair of models on each benchmark that scores samples (not `command`), by its name; models[i] are model i's
  // results, as CandidateEvaluator gave them. See Compare in worker/benchmark/comparison.h.
  virtual absl::StatusOr<std::map<std::string, std::vector<PairedDifference>>> Compare(
      const std::vector<BenchmarkSpec>& benchmarks, const std::vector<std::vector<BenchmarkResult>>& models,
      uint64_t seed) = 0;
  // 95 % Wilson interval of a proportion.
  virtual std::pair<double, double> WilsonInterval(double successes, int64_t n) = 0;
};

// The library beside this executable (../lib/libmerganser-local.so, then beside it). Loaded once; lives as long as the
// process. FailedPrecondition naming what could not be loaded and why.
absl::StatusOr<LocalLibrary*> LoadLocalLibrary();

}  // namespace merganser

// What LoadLocalLibrary looks up. `version` is the caller's kVersion: null if the library is of another build.
extern "C" merganser::LocalLibrary* merganser_local_library(const char* version, merganser::LogLevel level);

#endif  // MERGANSER_WORKER_EVALUATE_LOCAL_LIBRARY_H_

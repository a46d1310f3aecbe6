#include "worker/engine/decoder.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/engine/aten_runner.h"
#include "worker/engine/cpu_kernels.h"
#include "worker/engine/cpu_runner.h"
#include "worker/engine/device.h"
#include "worker/engine/generation_run.h"
#include "worker/engine/prompt_embeddings.h"
#include "worker/engine/sampler.h"
#include "worker/engine/scoring_run.h"
#include "worker/engine/slot_count.h"
#include "worker/engine/step_recorder.h"
#include "worker/engine/weight_layout.h"

namespace merganser {
namespace {

constexpr int kLogProbsMax = 100;

// The processors that this process may use, which in a container or under Slurm are fewer than the
// machine has.
int UsableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

// Without them a matrix product in bf16 is slower than one in fp32 over bf16 weights.
bool HasBf16Instructions() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

int64_t Parameters(const ModelConfig& config) {
  int64_t total = 0;
  for (const TensorSpec& spec : WeightLayout(config)) {
    total += std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>());
  }
  return total;
}

absl::string_view ComputeName(ComputeType type) {
  switch (type) {
    case ComputeType::kBf16:
      return "bf16";
    case ComputeType::kFp16:
      return "fp16";
    case ComputeType::kBf16Products:
      return "bf16 products";
    default:
      return "fp32";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(const ModelConfig& config, const EngineOptions& options) {
  MG_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<Decoder> decoder(new Decoder(config, options));
  decoder->max_length_ =
      options.max_length == 0 ? config.max_position_embeddings : std::min(options.max_length, config.MaxContext());
  decoder->max_hops_ = static_cast<int>(config.num_hops > 0 ? config.num_hops : config.num_layers);
  if (options.max_path_length > 0) {
    decoder->max_hops_ = std::min(decoder->max_hops_, options.max_path_length);
  } else {
    decoder->options_.max_path_length = decoder->max_hops_;
  }
  decoder->wanted_sequences_ = options.max_sequences;
  if (options.threads == 0) decoder->options_.threads = UsableProcessors();
  MG_RETURN_IF_ERROR(decoder->MakeRunner());
  return decoder;
}

absl::Status Decoder::FitSlots(int64_t slot_bytes, std::optional<int64_t> free_bytes, int64_t element_bytes) {
  options_.max_sequences = wanted_sequences_;
  const auto fit = [&](const CacheBound& bound) -> absl::Status {
    MG_ASSIGN_OR_RETURN(options_.max_sequences, SequencesThatFit(options_.max_sequences, slot_bytes, max_length_, bound));
    return absl::OkStatus();
  };
  if (options_.kv_memory_bytes > 0) MG_RETURN_IF_ERROR(fit({options_.kv_memory_bytes, "kv_memory_bytes"}));
  if (free_bytes.has_value()) {
    MG_RETURN_IF_ERROR(fit(DeviceCacheBound(config_, *free_bytes, element_bytes, options_.max_batch_tokens)));
    if (options_.max_sequences < wanted_sequences_) {
      MG_LOG(INFO) << "fewer sequences are generated together than wanted sequences=" << options_.max_sequences
                   << " wanted=" << wanted_sequences_ << " slot_bytes=" << slot_bytes << " free_bytes=" << *free_bytes;
    }
  }
  cache_bytes_ = slot_bytes * (options_.max_sequences + 1);  // one slot more: the shared prefix's
  return absl::OkStatus();
}

absl::Status Decoder::MakeRunner() {
  MG_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(options_.device));
  MG_RETURN_IF_ERROR(PrepareDevice(device));
  ComputeType compute = options_.compute;
  if (compute == ComputeType::kAuto) {
    const bool own = device.is_cpu() && (Parameters(config_) <= kFp32ParametersMax || !HasBf16Instructions());
    compute = own ? ComputeType::kFp32 : ComputeType::kBf16;
  }
  compute_ = compute;
  description_ = absl::StrCat(ComputeName(compute), " on ", device.str());
  if (compute == ComputeType::kBf16Products && !device.is_cpu()) {
    return absl::InvalidArgumentError(absl::StrCat("bf16 products are computed on the CPU only, not on ", device.str()));
  }
  if (device.is_cpu() && (compute == ComputeType::kFp32 || compute == ComputeType::kBf16Products)) {
    const int64_t slot_bytes = CpuRunner::SlotBytes(config_, max_length_, max_hops_);
    MG_RETURN_IF_ERROR(FitSlots(slot_bytes, std::nullopt, sizeof(float)));
    const CpuKernels& kernels = BestCpuKernels();
    absl::StrAppend(&description_, " (", kernels.name, ", ", options_.threads, " threads)");
    MG_ASSIGN_OR_RETURN(runner_, CpuRunner::Create(config_, options_.max_sequences + 1, max_length_, max_hops_,
                                                   options_.threads, kernels, compute == ComputeType::kBf16Products));
    return absl::OkStatus();
  }
  const at::ScalarType type = compute == ComputeType::kBf16   ? at::kBFloat16
                              : compute == ComputeType::kFp16 ? at::kHalf
                                                              : at::kFloat;
  if (device.is_cpu()) {
    at::set_num_threads(options_.threads);
    absl::StrAppend(&description_, " (ATen, ", options_.threads, " threads)");
  }
  const int64_t slot_bytes = AtenRunner::SlotBytes(config_, type, max_length_, max_hops_);
  std::optional<int64_t> free_bytes;
  if (device.is_cuda()) free_bytes = FreeMemory(device, /*give_back=*/true);
  MG_RETURN_IF_ERROR(FitSlots(slot_bytes, free_bytes, static_cast<int64_t>(c10::elementSize(type))));
  std::unique_ptr<StepRecorder> recorder;
  if (options_.cuda_graphs && device.is_cuda()) {
    MG_ASSIGN_OR_RETURN(recorder, MakeStepRecorder(device));
    absl::StrAppend(&description_, " with CUDA graphs");
  }
  MG_ASSIGN_OR_RETURN(runner_, AtenRunner::Create(config_, device, type, options_.max_sequences + 1, max_length_, max_hops_,
                                                  std::move(recorder)));
  return absl::OkStatus();
}

bool Decoder::WidensWeights(absl::string_view dtype) const {
  if (compute_ != ComputeType::kFp32) return false;
  const bool own_kernels = options_.device == "cpu";  // which keep bf16 as it is
  return !own_kernels || dtype != "bfloat16";
}

absl::StatusOr<std::vector<LayerHop>> Decoder::PathOf(const ModelWeights& weights) const {
  if (!weights.path.empty()) return weights.path;
  if (config_.num_hops > 0) {
    return ReadStoredPath(*weights.stacks[0].source, config_.num_hops);
  }
  std::vector<LayerHop> path;
  for (int64_t i = 0; i < config_.num_layers; ++i) path.push_back({static_cast<int>(i), 1.0f});
  return path;
}

absl::Status Decoder::LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path) {
  return LoadWeights(ModelWeights{{{&source}}, {path.begin(), path.end()}});
}

absl::Status Decoder::LoadWeights(const ModelWeights& weights) {
  loaded_ = false;
  timings_ = {};
  const int stacks = static_cast<int>(weights.stacks.size());
  if (stacks == 0) return absl::InvalidArgumentError("the model has no stack of layers");
  for (const int stack : {weights.embedding_stack, weights.head_stack}) {
    if (stack < 0 || stack >= stacks) {
      return absl::InvalidArgumentError(
          absl::StrCat("the embedding or the head is of stack ", stack, ", not in [0, ", stacks - 1, "]"));
    }
  }
  ModelWeights resolved = weights;
  MG_ASSIGN_OR_RETURN(resolved.path, PathOf(weights));
  const int hops = static_cast<int>(resolved.path.size());
  if (hops > options_.max_path_length) {
    return absl::InvalidArgumentError(
        absl::StrCat("a path of ", hops, " layers is longer than the engine's max_path_length ", options_.max_path_length));
  }
  for (int i = 0; i < hops; ++i) {
    const LayerHop& hop = resolved.path[i];
    if (hop.stack < 0 || hop.stack >= stacks) {
      return absl::InvalidArgumentError(
          absl::StrCat("hop ", i, " of the path is in stack ", hop.stack, ", not in [0, ", stacks - 1, "]"));
    }
    const int given = weights.stacks[hop.stack].num_layers;
    const int layers = given > 0 ? given : static_cast<int>(config_.num_layers);
    if (hop.layer < 0 || hop.layer >= layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("hop ", i, " of the path is layer ", hop.layer, ", not in [0, ", layers - 1, "]"));
    }
  }
  if (hops > max_hops_) {
    // Some more than needed, so that a search whose paths grow does not end up here each time.
    constexpr int kStep = 16;
    max_hops_ = std::min(options_.max_path_length, (hops + kStep - 1) / kStep * kStep);
    runner_.reset();
    MG_RETURN_IF_ERROR(MakeRunner());
  }
  MG_RETURN_IF_ERROR(runner_->LoadWeights(resolved));
  loaded_ = true;
  return absl::OkStatus();
}

bool Decoder::RotationDependsOnLength(int64_t positions) const {
  const RopeScaling& rope = config_.rope_scaling;
  if (rope.type == RopeType::kDynamic) return positions > config_.max_position_embeddings;
  return rope.type == RopeType::kLongrope && positions > rope.original_max_position_embeddings;
}

absl::Status Decoder::CheckLoaded() const {
  if (loaded_) return absl::OkStatus();
  return absl::FailedPreconditionError("the engine has no weights: LoadWeights comes first");
}

absl::Status Decoder::CheckTokens(absl::Span<const int32_t> tokens, const std::string& what) const {
  if (tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " is empty"));
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config_.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " has token ", tokens[i], " at ", i, ", not in [0, ", config_.vocab_size - 1, "]"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Generation>> Decoder::Generate(absl::Span<const GenerationRequest> requests, std::stop_token stop,
                                                          const GenerationProgress& progress) {
  MG_RETURN_IF_ERROR(CheckLoaded());
  int64_t longest = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    MG_RETURN_IF_ERROR(CheckGeneration(requests[i], absl::StrCat("request ", i)));
    longest = std::max(longest, static_cast<int64_t>(requests[i].prompt.size()) + requests[i].max_new_tokens);
  }
  return GenerationRun(*runner_, options_, config_.vocab_size, config_.hidden_size, timings_)
      .Run(requests, !RotationDependsOnLength(longest), stop, progress);
}

absl::Status Decoder::Serve(RequestFeed& feed, std::stop_token stop) {
  MG_RETURN_IF_ERROR(CheckLoaded());
  const auto check = [this](const GenerationRequest& request) {
    if (request.beams.count > 1)
      return absl::InvalidArgumentError("the request asks for beams, which a server does not have");
    return CheckGeneration(request, "the request");
  };
  return GenerationRun(*runner_, options_, config_.vocab_size, config_.hidden_size, timings_)
      .Serve(feed, check, !RotationDependsOnLength(max_length_), stop);
}

absl::Status Decoder::CheckGeneration(const GenerationRequest& request, const std::string& what) const {
  MG_RETURN_IF_ERROR(CheckTokens(request.prompt, absl::StrCat("the prompt of ", what)));
  const int least = request.score_prompt ? 0 : 1;
  if (request.max_new_tokens < least) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " asks for max_new_tokens ", request.max_new_tokens, ", which must be at least ", least));
  }
  const int64_t positions = static_cast<int64_t>(request.prompt.size()) + request.max_new_tokens;
  if (positions > max_length_) {
    return absl::InvalidArgumentError(absl::StrCat(what, " needs ", positions, " positions (prompt of ",
                                                   request.prompt.size(), " tokens, ", request.max_new_tokens,
                                                   " new), more than the cache's ", max_length_));
  }
  MG_RETURN_IF_ERROR(CheckPromptEmbeddings(request.embeddings, static_cast<int64_t>(request.prompt.size()), what));
  return CheckDecoding(request, what);
}

absl::Status Decoder::CheckDecoding(const GenerationRequest& request, const std::string& what) const {
  for (const std::string& text : request.stop) {
    if (text.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " has an empty stop string"));
    if (!options_.decode) {
      return absl::FailedPreconditionError(
          absl::StrCat(what, " has stop strings, but the engine was made without a decode function"));
    }
  }
  MG_RETURN_IF_ERROR(Annotate(Validate(request.sampling), absl::StrCat(what, ": sampling")));
  MG_RETURN_IF_ERROR(Annotate(Validate(request.beams), what));
  if (request.log_probs < 0 || request.log_probs > kLogProbsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " asks for ", request.log_probs, " log_probs, not in [0, ", kLogProbsMax, "]"));
  }
  if (request.beams.count == 1) return absl::OkStatus();
  if (request.beams.count > options_.max_sequences) {
    return absl::InvalidArgumentError(absl::StrCat(what, " asks for ", request.beams.count,
                                                   " beams, more than the engine's max_sequences ", options_.max_sequences));
  }
  if (request.sampling.temperature > 0 || request.log_probs > 0 || request.on_token || request.score_prompt) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " asks for beams together with a temperature, log_probs, score_prompt or on_token"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Score>> Decoder::LogLikelihood(absl::Span<const ScoringRequest> requests, std::stop_token stop,
                                                          const GenerationProgress& progress) {
  MG_RETURN_IF_ERROR(CheckLoaded());
  int64_t longest = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    MG_RETURN_IF_ERROR(CheckTokens(requests[i].prompt, absl::StrCat("the prompt of request ", i)));
    MG_RETURN_IF_ERROR(CheckTokens(requests[i].continuation, absl::StrCat("the continuation of request ", i)));
    // The last token is only a target and never an input.
    const int64_t inputs =
        static_cast<int64_t>(requests[i].prompt.size()) + static_cast<int64_t>(requests[i].continuation.size()) - 1;
    if (inputs > max_length_) {
      return absl::InvalidArgumentError(
          absl::StrCat("request ", i, " needs ", inputs, " positions, more than the cache's ", max_length_));
    }
    longest = std::max(longest, inputs);
  }
  return ScoringRun(*runner_, options_, requests, !RotationDependsOnLength(longest), timings_).Run(stop, progress);
}

absl::StatusOr<std::vector<float>> Decoder::Logits(absl::Span<const int32_t> tokens,
                                                   absl::Span<const PromptEmbeddings> embeddings) {
  MG_RETURN_IF_ERROR(CheckLoaded());
  MG_RETURN_IF_ERROR(CheckTokens(tokens, "the input"));
  MG_RETURN_IF_ERROR(CheckPromptEmbeddings(embeddings, static_cast<int64_t>(tokens.size()), "the input"));
  const int n = static_cast<int>(tokens.size());
  if (n > max_length_) {
    return absl::InvalidArgumentError(absl::StrCat("an input of ", n, " tokens is longer than the cache's ", max_length_));
  }
  StepBatch batch;
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.segments = {{0, 0, n, n}};
  AddPromptEmbeddings(embeddings, 0, n, config_.hidden_size, batch);
  if (!batch.embeddings.empty()) batch.embeddings.resize(n, nullptr);
  std::vector<RowResult> results(n);
  std::vector<float> logits(static_cast<size_t>(n) * config_.vocab_size);
  MG_RETURN_IF_ERROR(runner_->Step(batch, {absl::MakeSpan(results), {}, logits.data()}));
  return logits;
}

absl::StatusOr<double> Decoder::MatrixSeconds(int rows, int head_rows) {
  MG_RETURN_IF_ERROR(CheckLoaded());
  const absl::Duration start = options_.clock->Monotonic();
  MG_RETURN_IF_ERROR(runner_->RunMatrices(rows, head_rows));
  return absl::ToDoubleSeconds(options_.clock->Monotonic() - start);
}

}  // namespace merganser

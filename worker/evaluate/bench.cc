#include "worker/evaluate/bench.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "worker/engine/decoder.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"

namespace merganser {
namespace {

constexpr int64_t kTokensMax = 1 << 24;
constexpr int kLimitRepetitions = 3;  // of which the fastest counts

absl::Status Check(const BenchRequest& request) {
  const std::pair<const char*, int64_t> fields[] = {{"sequences", request.sequences},
                                                    {"prompt_tokens", request.prompt_tokens},
                                                    {"new_tokens", request.new_tokens},
                                                    {"repetitions", request.repetitions}};
  for (const auto& [field, value] : fields) {
    if (value < 1 || value > kTokensMax) {
      return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, ", not in [1, ", kTokensMax, "]"));
    }
  }
  return absl::OkStatus();
}

std::vector<GenerationRequest> RandomRequests(const BenchRequest& request, int64_t vocab_size) {
  Rng rng(request.seed, 0);
  std::vector<GenerationRequest> requests(request.sequences);
  for (GenerationRequest& r : requests) {
    r.max_new_tokens = static_cast<int>(request.new_tokens);
    for (int64_t i = 0; i < request.prompt_tokens; ++i) {
      r.prompt.push_back(static_cast<int32_t>(rng.NextU64() % static_cast<uint64_t>(vocab_size)));
    }
  }
  return requests;
}

// Seconds that the matrix products of all steps take by themselves.
absl::StatusOr<double> LimitSeconds(const BenchRequest& request, Decoder& decoder, std::stop_token stop) {
  const auto fastest = [&](int64_t rows, int64_t head_rows) -> absl::StatusOr<double> {
    double best = 0;
    for (int i = 0; i < kLimitRepetitions; ++i) {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      MG_ASSIGN_OR_RETURN(const double seconds, decoder.MatrixSeconds(static_cast<int>(rows), static_cast<int>(head_rows)));
      best = i == 0 ? seconds : std::min(best, seconds);
    }
    return best;
  };
  double total = 0;
  for (int64_t left = request.sequences; left > 0; left -= decoder.max_sequences()) {
    const int64_t together = std::min<int64_t>(left, decoder.max_sequences());
    const int64_t prompt_rows = together * request.prompt_tokens;
    const int64_t piece = std::min<int64_t>(prompt_rows, decoder.max_batch_tokens());
    MG_ASSIGN_OR_RETURN(const double prefill, fastest(piece, std::min(together, piece)));
    MG_ASSIGN_OR_RETURN(const double decode, fastest(together, together));
    total += prefill * static_cast<double>(prompt_rows) / static_cast<double>(piece) +
             decode * static_cast<double>(request.new_tokens - 1);
  }
  return total;
}

}  // namespace

absl::StatusOr<BenchResult> BenchModel(const BenchRequest& request, const LocalOptions& options, std::stop_token stop) {
  MG_RETURN_IF_ERROR(Check(request));
  MG_ASSIGN_OR_RETURN(const CheckpointMap models, OpenModels({{"model", request.model}}, options.model_roots));
  const std::shared_ptr<const Checkpoint>& checkpoint = models.begin()->second;
  const ModelConfig& config = checkpoint->config();
  EngineOptions engine;
  MG_ASSIGN_OR_RETURN(engine.device, DeviceOf(options));
  MG_ASSIGN_OR_RETURN(engine.compute, ComputeOf(options, engine.device));
  engine.cuda_graphs = options.cuda_graphs;
  engine.threads = ThreadsOf(options);
  engine.max_sequences =
      static_cast<int>(std::min<int64_t>(options.max_sequences > 0 ? options.max_sequences : request.sequences, 4096));
  engine.max_length = request.prompt_tokens + request.new_tokens;
  if (engine.max_length > config.MaxContext()) {
    return absl::InvalidArgumentError(absl::StrCat("prompt_tokens and new_tokens are ", engine.max_length, " together; ",
                                                   checkpoint->dir(), "/config.json allows ", config.MaxContext(),
                                                   " (max_position_embeddings)"));
  }
  MG_ASSIGN_OR_RETURN(const auto decoder, Decoder::Create(config, engine));
  const Clock& clock = Clock::Real();

  BenchResult result;
  result.engine = decoder->description();
  for (const TensorView& tensor : checkpoint->tensors()) result.parameters += tensor.NumElements();
  const std::vector<GenerationRequest> requests = RandomRequests(request, config.vocab_size);
  for (int64_t i = 0; i < request.repetitions; ++i) {
    const absl::Duration loading = clock.Monotonic();
    // A source of its own each time, so that nothing is kept from the time before.
    const CheckpointWeights fresh(checkpoint);
    MG_RETURN_IF_ERROR(decoder->LoadWeights(fresh));
    const absl::Duration start = clock.Monotonic();
    MG_RETURN_IF_ERROR(decoder->Generate(requests, stop, nullptr).status());
    const double seconds = absl::ToDoubleSeconds(clock.Monotonic() - start);
    if (i > 0 && seconds >= result.seconds) continue;
    const GenerationTimings timings = decoder->timings();
    result.seconds = seconds;
    result.load_seconds = absl::ToDoubleSeconds(start - loading);
    result.prefill_seconds = timings.prefill_seconds;
    result.decode_seconds = timings.decode_seconds;
    result.prompt_tokens = timings.prompt_tokens;
    result.generated_tokens = timings.generated_tokens;
  }
  MG_ASSIGN_OR_RETURN(result.limit_seconds, LimitSeconds(request, *decoder, stop));
  return result;
}

}  // namespace merganser

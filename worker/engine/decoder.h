// The engine: a decoder-only language model, made once per job and filled with one candidate's
// weights after the other.
#ifndef MERGANSER_WORKER_ENGINE_DECODER_H_
#define MERGANSER_WORKER_ENGINE_DECODER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/checkpoint/model_config.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/generator.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/serving_engine.h"
#include "worker/engine/weight_source.h"

namespace merganser {

// Owns the key-value cache, the workspaces and a copy of the weights. Sequences enter a slot of the
// cache when one is free (long prompts first) and leave it as soon as they end; prompt pieces and
// decoded tokens share steps, packed without padding. A token prefix that all requests of a call
// share is computed once.
//
// Thread-compatible: one call at a time, and on CPU from one thread at a time.
class Decoder : public Generator, public ServingEngine {
 public:
  // Allocates everything but the weights. InvalidArgument: an option out of range. Unimplemented:
  // an activation that the engine lacks. FailedPrecondition: the device is not
  // there, or the library for cuda_graphs. ResourceExhausted: no sequence fits kv_memory_bytes or the device's memory.
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(const ModelConfig& config, const EngineOptions& options);

  // Takes a candidate's weights, copied or converted as needed; see WeightSource::may_alias and
  // constant_id. An empty path means the layers of stacks[0] in order, or, of an EvoMistral model,
  // its own path (the tensors model.input_layers and model.input_scales). Resets timings().
  // InvalidArgument: a tensor with another shape or type, a hop outside the model, a path longer
  // than max_path_length; NotFound: a missing tensor. ResourceExhausted: a longer path than any
  // before needs a larger cache. After an error there are no weights.
  absl::Status LoadWeights(const ModelWeights& weights);
  // The same for one source.
  absl::Status LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path = {});

  absl::StatusOr<std::vector<Generation>> Generate(absl::Span<const GenerationRequest> requests, std::stop_token stop,
                                                   const GenerationProgress& progress) override;
  absl::StatusOr<std::vector<Score>> LogLikelihood(absl::Span<const ScoringRequest> requests, std::stop_token stop,
                                                   const GenerationProgress& progress) override;
  GenerationTimings timings() const override { return timings_; }
  // Its own kind of call: nothing else may be called until it has returned.
  absl::Status Serve(RequestFeed& feed, std::stop_token stop) override;

  // The logits after each of `tokens`, of which `embeddings` stand for some: [tokens, vocab_size], row-major fp32. Errors as
  // Generate.
  absl::StatusOr<std::vector<float>> Logits(absl::Span<const int32_t> tokens,
                                            absl::Span<const PromptEmbeddings> embeddings = {});

  int64_t max_length() const override { return max_length_; }
  // Seconds that the matrix products of one step take by themselves, weights read included; see
  // ModelRunner::RunMatrices. A step cannot be faster.
  absl::StatusOr<double> MatrixSeconds(int rows, int head_rows);

  // Prompt tokens that enter one step.
  int max_batch_tokens() const { return options_.max_batch_tokens; }
  // Those that the cache has slots for.
  int max_sequences() const { return options_.max_sequences; }
  // Of the keys and values of all slots, for paths of the length that came so far.
  int64_t cache_bytes() const { return cache_bytes_; }
  // Whether weights stored as `dtype` ("bfloat16", ...) take four bytes each here, and not two.
  bool WidensWeights(absl::string_view dtype) const;
  // "fp32 on cpu (avx512, 2 threads)" or "bf16 on cuda:0 with CUDA graphs": for logs and records.
  const std::string& description() const { return description_; }

 private:
  Decoder(const ModelConfig& config, const EngineOptions& options) : config_(config), options_(options) {}
  absl::Status MakeRunner();
  absl::StatusOr<std::vector<LayerHop>> PathOf(const ModelWeights& weights) const;
  // Sets max_sequences and cache_bytes_. `free_bytes`: of the device, where it is to bound the cache too.
  absl::Status FitSlots(int64_t slot_bytes, std::optional<int64_t> free_bytes, int64_t element_bytes);
  absl::Status CheckTokens(absl::Span<const int32_t> tokens, const std::string& what) const;
  absl::Status CheckGeneration(const GenerationRequest& request, const std::string& what) const;
  absl::Status CheckDecoding(const GenerationRequest& request, const std::string& what) const;
  absl::Status CheckLoaded() const;
  // Of sequences of up to `positions`.
  bool RotationDependsOnLength(int64_t positions) const;

  const ModelConfig config_;
  EngineOptions options_;
  int64_t max_length_ = 0;
  int max_hops_ = 0;          // that runner_ was made for
  int wanted_sequences_ = 0;  // before FitSlots
  std::string description_;
  ComputeType compute_ = ComputeType::kAuto;  // resolved
  int64_t cache_bytes_ = 0;
  std::unique_ptr<ModelRunner> runner_;
  bool loaded_ = false;
  GenerationTimings timings_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_DECODER_H_

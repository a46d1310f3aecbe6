// How a Decoder is set up.
#ifndef MERGANSER_WORKER_ENGINE_ENGINE_OPTIONS_H_
#define MERGANSER_WORKER_ENGINE_ENGINE_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/clock.h"
#include "worker/checkpoint/model_config.h"

namespace merganser {

enum class ComputeType {
  // CUDA: bf16. CPU: fp32 over the weights' own type, but bf16 above kFp32ParametersMax parameters
  // where the processor multiplies bf16 itself.
  kAuto,
  kBf16,
  kFp16,
  kFp32,
  // CPU only: as kFp32, but matrices are multiplied as bf16 numbers with fp32 sums (weights of other types are rounded, and
  // so are activations where they meet a matrix). Twice the arithmetic per second where the processor has AVX512-BF16.
  kBf16Products,
};

// Above this many parameters a processor with bf16 instructions does better in bf16 altogether.
inline constexpr int64_t kFp32ParametersMax = 512'000'000;

// Text of some generated tokens, special tokens left out.
using DecodeTokens = std::function<absl::StatusOr<std::string>(absl::Span<const int32_t>)>;

struct EngineOptions {
  std::string device = "cpu";  // "cpu", "cuda" (device 0) or "cuda:N"
  ComputeType compute = ComputeType::kAuto;

  // Sequences that are generated together; each owns a slot of the key-value cache. 1 .. 4096.
  int max_sequences = 96;
  // Prompt tokens that enter one step; longer prompts are taken in pieces. 1 .. 65536.
  int max_batch_tokens = 2048;
  // Positions of one slot: the longest prompt plus its new tokens. 0: max_position_embeddings;
  // never more than that.
  int64_t max_length = 0;
  // Bound on the key-value cache in bytes; max_sequences shrinks to fit. 0: none, but what a CUDA device has free.
  int64_t kv_memory_bytes = 0;
  // Most layers that one token may pass through; the cache grows with the longest path that came.
  // 0: as many as the model has (num_layers, or num_hops). At most 1024.
  int max_path_length = 0;
  // On a CUDA device: steps in which every sequence has one new token are padded to one of a few sizes and recorded as CUDA
  // graphs, which are run again for every candidate (aten_decoding.h). Without meaning on the CPU.
  bool cuda_graphs = false;
  // CPU threads, the caller's included. 0: all processors that the process may use. At most 256.
  int threads = 0;
  // Generation ends at any of these; usually GenerationConfig::eos_token_ids.
  std::vector<int32_t> eos_token_ids;
  // Needed only by requests with stop strings. Called on the thread that calls Generate.
  DecodeTokens decode;
  // Only for GenerationTimings. Must outlive the Decoder.
  const Clock* clock = &Clock::Real();

  // InvalidArgument naming the field, its value and the bound.
  absl::Status Validate() const;
};

// One layer that the data-flow passes through. `scale` multiplies the previous hop's MLP output
// before it joins the residual stream (hop 0: the embedding).
struct LayerHop {
  int layer = 0;
  float scale = 1.0f;
  int stack = 0;  // which of the model's sources has it
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ENGINE_OPTIONS_H_

// The decoder on ATen: bf16, fp16 or fp32, on CUDA devices and, for large models, on CPU. The
// source is the same for all; only attention differs (aten_attention.h).
#ifndef MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_
#define MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/aten_weights.h"
#include "worker/engine/model_runner.h"

namespace merganser {

class AtenRunner : public ModelRunner {
 public:
  // `type`: at::kBFloat16, kHalf or kFloat. Unimplemented: an activation other than silu, or a rope
  // scaling that MakeRopeTable refuses. ResourceExhausted: the cache does not fit. REQUIRES:
  // PrepareDevice(device) was OK.
  static absl::StatusOr<std::unique_ptr<AtenRunner>> Create(const ModelConfig& config,
                                                            c10::Device device, at::ScalarType type,
                                                            int slots, int64_t max_length,
                                                            int max_hops);

  // Bytes of key-value cache for one slot.
  static int64_t SlotBytes(const ModelConfig& config, at::ScalarType type, int64_t max_length,
                           int max_hops);

  absl::Status LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path) override;
  absl::Status Step(const StepBatch& batch, const StepResults& results) override;
  absl::Status CopyPositions(int from, int to, int begin, int end) override;

 private:
  AtenRunner(const ModelConfig& config, int64_t max_length)
      : config_(config), max_length_(max_length) {}
  absl::Status Run(const StepBatch& batch, const StepResults& results);
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor Hidden(const StepBatch& batch);  // [results, hidden], before the final norm

  const ModelConfig config_;
  const int64_t max_length_;
  at::TensorOptions options_;
  bool flash_ = false;
  at::Tensor cos_, sin_;  // [max_length, 1, head_dim], sin negative in the first half
  at::Tensor cache_;      // [hop, slots * max_length, 2, kv_heads, head_dim]
  AtenWeights weights_;
  std::vector<LayerHop> path_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_

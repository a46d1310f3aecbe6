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
#include "worker/engine/rope_table.h"

namespace merganser {

class AtenRunner : public ModelRunner {
 public:
  // `type`: at::kBFloat16, kHalf or kFloat. Unimplemented: an activation that CheckActivation
  // refuses. ResourceExhausted: the cache does not fit. REQUIRES: PrepareDevice(device) was OK.
  static absl::StatusOr<std::unique_ptr<AtenRunner>> Create(const ModelConfig& config, c10::Device device,
                                                            at::ScalarType type, int slots, int64_t max_length,
                                                            int max_hops);

  // Bytes of key-value cache for one slot.
  static int64_t SlotBytes(const ModelConfig& config, at::ScalarType type, int64_t max_length, int max_hops);

  absl::Status LoadWeights(const ModelWeights& weights) override;
  absl::Status Step(const StepBatch& batch, const StepResults& results) override;
  absl::Status CopyPositions(int from, int to, int begin, int end) override;
  absl::Status RunMatrices(int rows, int head_rows) override;

 private:
  // cos and sin of one kind of layer for a step's tokens: [tokens, 1, head_dim], sin negative in the
  // first half.
  struct Rotation {
    at::Tensor cos, sin;
  };
  // A RopeTable on the device.
  struct Rope {
    RopeTable table;
    Rotation all;  // of all positions; undefined where they depend on the context
  };
  struct HopWeights {
    const AtenWeights::Layer* layer;
    float scale;
    int64_t window;
    bool sliding_rope;
  };

  AtenRunner(const ModelConfig& config, int64_t max_length) : config_(config), max_length_(max_length) {}
  absl::Status Run(const StepBatch& batch, const StepResults& results);
  absl::Status Load(const ModelWeights& weights);
  Rope MakeRope(const RopeConfig& config) const;
  Rotation RotationOf(const Rope& rope, const StepBatch& batch, const at::Tensor& positions) const;
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor Hidden(const StepBatch& batch);  // [results, hidden], before the final norm

  const ModelConfig config_;
  const int64_t max_length_;
  at::TensorOptions options_;
  bool flash_ = false;
  Rope rope_, sliding_rope_;
  at::Tensor cache_;  // [hop, slots * max_length, 2, kv_heads, head_dim]
  std::vector<std::unique_ptr<AtenWeights>> stacks_;
  std::vector<HopWeights> path_;
  const AtenWeights* embedding_ = nullptr;
  const AtenWeights* head_ = nullptr;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_

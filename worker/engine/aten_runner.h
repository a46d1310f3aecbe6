// The decoder on ATen: bf16, fp16 or fp32, on CUDA devices and, for large models, on CPU. The
// source is the same for all; only attention differs (aten_attention.h), and whether steps of one token
// per sequence are recorded (aten_decoding.h).
#ifndef MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_
#define MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/aten_decoding.h"
#include "worker/engine/aten_model.h"
#include "worker/engine/aten_rope.h"
#include "worker/engine/aten_weights.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/step_graph.h"

namespace merganser {

class AtenRunner : public ModelRunner {
 public:
  // `type`: at::kBFloat16, kHalf or kFloat. Unimplemented: an activation that CheckActivation
  // refuses. ResourceExhausted: the cache does not fit, or has more rows than flash attention counts. With a `recorder` of
  // the device, steps of one token per sequence are recorded. REQUIRES: PrepareDevice(device) was OK.
  static absl::StatusOr<std::unique_ptr<AtenRunner>> Create(const ModelConfig& config, c10::Device device,
                                                            at::ScalarType type, int slots, int64_t max_length, int max_hops,
                                                            std::unique_ptr<StepRecorder> recorder = nullptr);

  // Bytes of key-value cache for one slot.
  static int64_t SlotBytes(const ModelConfig& config, at::ScalarType type, int64_t max_length, int max_hops);

  absl::Status LoadWeights(const ModelWeights& weights) override;
  absl::Status Step(const StepBatch& batch, const StepResults& results) override;
  absl::Status CopyPositions(int from, int to, int begin, int end) override;
  absl::Status RunMatrices(int rows, int head_rows) override;

 private:
  AtenRunner(const ModelConfig& config, int64_t max_length) : config_(config), max_length_(max_length) {}
  absl::Status Run(const StepBatch& batch, const StepResults& results);
  absl::Status Load(const ModelWeights& weights);
  // Of any tokens: the wanted rows before the final norm, [results, hidden].
  at::Tensor Hidden(const StepBatch& batch);

  const ModelConfig config_;
  const int64_t max_length_;
  at::TensorOptions options_;
  bool flash_ = false;
  AtenRope rope_, sliding_rope_;
  at::Tensor cache_;  // [hop, slots * max_length, 2, kv_heads, head_dim]; with decoding_, one row more
  std::vector<std::unique_ptr<AtenWeights>> stacks_;
  std::shared_ptr<const AtenModel> model_;  // tensors of stacks_; null: no weights
  std::vector<uint64_t> identity_;          // of model_
  std::unique_ptr<AtenDecoding> decoding_;  // null: every step runs as it comes
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_RUNNER_H_

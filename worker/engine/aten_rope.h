// Rotations of queries and keys on the engine's device.
#ifndef MERGANSER_WORKER_ENGINE_ATEN_ROPE_H_
#define MERGANSER_WORKER_ENGINE_ATEN_ROPE_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "worker/checkpoint/model_config.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/rope_table.h"

namespace merganser {

// cos and sin of a step's tokens: [tokens, 1, head_dim] in the engine's type, sin negative in the first half.
struct Rotation {
  at::Tensor cos, sin;
};

class AtenRope {
 public:
  AtenRope() = default;
  // For positions below max_length. Throws what ATen throws.
  AtenRope(const RopeConfig& rope, const ModelConfig& config, int64_t max_length, const at::TensorOptions& options);

  // Whether a rotation depends on the sequence's length: At does not apply then.
  bool depends_on_context() const { return table_.depends_on_context(); }
  // `positions` int64 on the device.
  Rotation At(const at::Tensor& positions) const;
  // Of the tokens of `segments`, any kind; computed on the host.
  Rotation Of(const std::vector<Segment>& segments) const;

 private:
  RopeTable table_;
  at::TensorOptions options_;
  Rotation all_;  // of all positions; undefined where they depend on the context
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_ROPE_H_

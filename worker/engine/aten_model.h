// The forward pass over a step's tensors. Control depends on shapes and host numbers only and nothing waits for the device,
// so that a step of one token per sequence may be recorded (step_graph.h).
#ifndef MERGANSER_WORKER_ENGINE_ATEN_MODEL_H_
#define MERGANSER_WORKER_ENGINE_ATEN_MODEL_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "worker/checkpoint/model_config.h"
#include "worker/engine/aten_attention.h"
#include "worker/engine/aten_rope.h"
#include "worker/engine/aten_weights.h"

namespace merganser {

// The weights of a candidate in the order of its path: handles of its own on tensors of AtenWeights.
struct AtenModel {
  struct Hop {
    AtenWeights::Layer layer;
    float scale = 1;
    int64_t window = 0;
    bool sliding_rope = false;
  };
  std::vector<Hop> path;
  at::Tensor embedding, final_norm, head;

  // Addresses and numbers: two models of one config with equal identities are the same work on the same memory, whatever
  // values that memory holds.
  std::vector<uint64_t> Identity() const;
};

struct StepTensors {
  at::Tensor ids;                       // int64 [tokens]
  at::Tensor cache_rows;                // int64 [tokens]: where their keys and values go
  Rotation rotation, sliding_rotation;  // the latter where the config has sliding_rope
  AttentionPlan plan;                   // without scale and softcap, which are the config's
};

// What follows throws what ATen throws.

// [tokens, hidden].
at::Tensor EmbedTokens(const ModelConfig& config, const AtenModel& model, const at::Tensor& ids);
// Takes embedded tokens through the path, in place, and writes `cache` [hops, rows, 2, kv_heads, head_dim].
void RunPath(const ModelConfig& config, const AtenModel& model, StepTensors step, const at::Tensor& cache, at::Tensor& x);
// [rows, vocab] in the engine's type.
at::Tensor LogitsOf(const ModelConfig& config, const AtenModel& model, const at::Tensor& hidden);

at::Tensor ApplyLinear(const at::Tensor& x, const AtenWeights::Linear& linear);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_MODEL_H_

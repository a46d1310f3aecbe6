// A candidate's weights in fp32, in the layouts of cpu_kernels.h.
#ifndef MERGANSER_WORKER_ENGINE_CPU_WEIGHTS_H_
#define MERGANSER_WORKER_ENGINE_CPU_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/checkpoint/model_config.h"
#include "worker/engine/cpu_kernels.h"
#include "worker/engine/thread_team.h"
#include "worker/engine/weight_source.h"
#include "worker/engine/zeroed_memory.h"

namespace merganser {

// Sizes after padding. Heads are padded to whole vectors with zeros, which change no dot product.
struct CpuGeometry {
  explicit CpuGeometry(const ModelConfig& config);

  int hidden, inner, heads, kv_heads, head_dim, vocab;
  int head_stride;       // head_dim rounded up to kLane
  int hidden_stride;     // of the residual stream and its norm
  int qkv_stride;        // q heads, k heads, v heads
  int attention_stride;  // heads * head_stride, rounded up
  int inner_stride;
  int vocab_panels;
};

// One packed matrix: `weight` and, where the config has biases, `bias`.
struct PackedLinear {
  const float* weight = nullptr;
  const float* bias = nullptr;
  int k = 0;
  int panels = 0;
};

// Owns one block of memory of a size that depends on the config only. Thread-compatible.
class CpuWeights {
 public:
  struct Layer {
    const float* input_norm;
    const float* post_norm;
    PackedLinear qkv, o, gate_up, down;
  };

  // Converts and packs `source`. Allocates in the first call. Errors of FindWeight; the contents
  // are undefined then.
  absl::Status Load(const ModelConfig& config, const WeightSource& source, ThreadTeam& team);

  const Layer& layer(int i) const { return layers_[i]; }
  const float* final_norm() const { return final_norm_; }
  const PackedLinear& head() const { return head_; }
  const float* embedding() const { return embedding_; }  // [vocab, hidden_stride]

 private:
  ZeroedMemory memory_;
  std::vector<Layer> layers_;
  const float* final_norm_ = nullptr;
  const float* embedding_ = nullptr;
  PackedLinear head_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_CPU_WEIGHTS_H_

// The weights of one source in the layouts of cpu_kernels.h.
#ifndef MERGANSER_WORKER_ENGINE_CPU_WEIGHTS_H_
#define MERGANSER_WORKER_ENGINE_CPU_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <set>
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
  const void* weight = nullptr;
  WeightType type = WeightType::kFp32;
  const float* bias = nullptr;
  int k = 0;
  int panels = 0;

  int64_t PanelBytes() const {
    const int64_t bytes_per_k = type == WeightType::kFp32 ? 4 : 2;
    return (type == WeightType::kBf16Pairs ? (k + 1) / 2 * 2 : k) * bytes_per_k * kPanel;
  }
  // Where a panel begins.
  const void* At(int panel) const { return static_cast<const std::byte*>(weight) + int64_t{panel} * PanelBytes(); }
};

// What is asked of a source.
struct WeightsWanted {
  std::set<int> layers;
  bool embedding = false;
  bool head = false;  // and the final norm
};

// Owns one block of memory, of which only what was loaded takes space. Matrices of a source that is
// bf16 throughout stay bf16: that loses nothing and halves what every step reads. Norms and biases
// are fp32, norms with Gemma's 1 added. Thread-compatible.
class CpuWeights {
 public:
  // `pairs`: matrices are bf16 pairs, whatever the source's type; others than bf16 are rounded.
  explicit CpuWeights(bool pairs) : pairs_(pairs) {}

  struct Layer {
    const float* input_norm;
    const float* post_norm;                            // before the MLP, or (output_norms) after attention
    const float* pre_mlp_norm = nullptr;               // with output_norms
    const float* post_mlp_norm = nullptr;              // with output_norms
    const float *q_norm = nullptr, *k_norm = nullptr;  // with qk_norm; head_stride floats
    PackedLinear qkv, o, gate_up, down;
  };

  // Converts and packs what is wanted and, of a constant source, was not loaded before. `num_layers`
  // is what the source has. Errors of FindWeight; the contents are undefined then.
  absl::Status Load(const ModelConfig& config, const WeightSource& source, int num_layers, const WeightsWanted& wanted,
                    ThreadTeam& team);

  // Of the source that was loaded last; 0: none, or one that may change.
  uint64_t constant_id() const { return constant_id_; }

  // REQUIRES for what follows: it was among what was wanted.
  const Layer& layer(int i) const { return layers_[i]; }
  const float* final_norm() const { return final_norm_; }
  const PackedLinear& head() const { return head_; }
  // Row `token` of the embedding as hidden_stride floats.
  void CopyEmbedding(int64_t token, float* out) const;
  // Bytes of one layer's matrices.
  int64_t LayerBytes() const;

 private:
  struct Pack;  // one matrix to be packed

  void Place(const ModelConfig& config, const CpuGeometry& g, int num_layers, std::byte* base, int64_t* bytes);
  absl::Status Reset(const ModelConfig& config, const WeightSource& source, int num_layers);

  const bool pairs_;
  ZeroedMemory memory_;
  uint64_t constant_id_ = 0;
  WeightType type_ = WeightType::kFp32;  // of the matrices,
  bool wide_embedding_ = true;           // and whether the embedding is fp32, else bf16
  WeightsWanted loaded_;
  std::vector<Layer> layers_;
  const float* final_norm_ = nullptr;
  const void* embedding_ = nullptr;  // [vocab, hidden_stride]
  int hidden_stride_ = 0;
  PackedLinear head_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_CPU_WEIGHTS_H_

// The architecture that a checkpoint's config.json describes.
#ifndef MERGANSER_WORKER_CHECKPOINT_MODEL_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/dtype.h"
#include "worker/checkpoint/rope_config.h"

namespace merganser {

enum class ModelFamily { kLlama, kMistral, kQwen2, kQwen3, kGemma, kGemma2, kGemma3, kEvoMistral };

// Plain values, already checked: sizes are positive, num_heads is a multiple of num_kv_heads,
// head_dim is even.
struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM", ...: see SupportedArchitectures
  ModelFamily family = ModelFamily::kLlama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;      // elements; not always hidden_size / num_heads
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  // Gemma 3: the rotation of layers with a window, where it differs from the above.
  std::optional<RopeConfig> sliding_rope;
  int64_t max_position_embeddings = 0;    // tokens
  std::optional<int64_t> sliding_window;  // tokens that a position attends to, itself included; absent: all before it
  // By layer, whether sliding_window holds; empty: in all layers.
  std::vector<bool> sliding_layers;
  bool tie_word_embeddings = false;    // true: the output matrix is the embedding, lm_head may be absent
  bool attention_bias = false;         // on q_proj, k_proj and v_proj
  bool attention_output_bias = false;  // on o_proj
  bool mlp_bias = false;               // on gate_proj, up_proj and down_proj
  bool qk_norm = false;                // q_norm and k_norm over each head, before the rotation
  // Norms multiply by 1 + weight, in fp32 (Gemma), instead of by weight.
  bool norm_adds_one = false;
  // Gemma 2 and 3: what attention and MLP give is normed before it joins the residual stream
  // (post_attention_layernorm, post_feedforward_layernorm), and the MLP's input is normed by
  // pre_feedforward_layernorm.
  bool output_norms = false;
  bool scale_embedding = false;  // embeddings are multiplied by sqrt(hidden_size)
  // Attention scores are divided by the root of this; 0: of head_dim.
  double query_pre_attn_scalar = 0;
  // Attention scores and logits x become cap * tanh(x / cap); 0: they stay.
  double attention_softcap = 0;
  double final_softcap = 0;
  // EvoMistral: the path's length; its hops are the tensors model.input_layers and
  // model.input_scales. 0: the layers in order.
  int64_t num_hops = 0;
  std::string hidden_act = "silu";     // "silu", "gelu", "gelu_new", "gelu_pytorch_tanh" or "relu"; "swish" reads as "silu"
  std::optional<DType> dtype;          // as declared; the tensors' own types are what counts
  std::vector<int32_t> eos_token_ids;  // empty: none declared
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> pad_token_id;  // -1 in the file reads as absent
  std::string raw_json;                 // the file's text

  // Positions that a token of `layer` sees, itself included; 0: all.
  int64_t WindowOf(int64_t layer) const {
    const bool sliding = sliding_layers.empty() || sliding_layers[layer];
    return sliding ? sliding_window.value_or(0) : 0;
  }
  // Whether `layer` rotates by sliding_rope.
  bool UsesSlidingRope(int64_t layer) const {
    return sliding_rope.has_value() && !sliding_layers.empty() && sliding_layers[layer];
  }
  // Longest sequence that the position embedding is made for: max_position_embeddings, or more
  // where a linear, dynamic or yarn scaling extends it.
  int64_t MaxContext() const;

  // Parses the text of a config.json in the classic layout (`torch_dtype`, `rope_theta`,
  // `rope_scaling`) or that of transformers 5 (`dtype`, `rope_parameters`). Absent fields get the
  // defaults of transformers for the family. `path` is for messages only. InvalidArgument: not JSON
  // (with line and column), a duplicate key, a missing field, or a value of the wrong type or out
  // of bounds (the message names file, field, value and bound). Unimplemented: another family
  // (lists the supported ones), a quantized checkpoint, or a rope setting that ParseRopeConfig does
  // not know.
  static absl::StatusOr<ModelConfig> Parse(absl::string_view json, const std::string& path);
};

// "LlamaForCausalLM, MistralForCausalLM, ...": the families that Parse knows.
std::string SupportedArchitectures();

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_MODEL_CONFIG_H_

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

enum class ModelFamily { kLlama, kMistral };

// Plain values, already checked: sizes are positive, num_heads is a multiple of num_kv_heads,
// head_dim is even.
struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM" or "MistralForCausalLM"
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
  int64_t max_position_embeddings = 0;  // tokens
  std::optional<int64_t>
      sliding_window;  // tokens that a position attends to, itself included; absent: all before it
  bool tie_word_embeddings =
      false;                    // true: the output matrix is the embedding, lm_head may be absent
  bool attention_bias = false;  // on q_proj, k_proj, v_proj and o_proj
  bool mlp_bias = false;        // on gate_proj, up_proj and down_proj
  std::string hidden_act =
      "silu";  // "silu", "gelu", "gelu_new", "gelu_pytorch_tanh" or "relu"; "swish" reads as "silu"
  std::optional<DType> dtype;          // as declared; the tensors' own types are what counts
  std::vector<int32_t> eos_token_ids;  // empty: none declared
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> pad_token_id;  // -1 in the file reads as absent
  std::string raw_json;                 // the file's text

  // Parses the text of a config.json in the classic layout (`torch_dtype`, `rope_theta`,
  // `rope_scaling`) or that of transformers 5 (`dtype`, `rope_parameters`). Absent fields get the
  // defaults of transformers for the family. `path` is for messages only. InvalidArgument: not JSON
  // (with line and column), a duplicate key, a missing field, or a value of the wrong type or out
  // of bounds (the message names file, field, value and bound). Unimplemented: another family
  // (lists the supported ones), a quantized checkpoint, or a rope setting that ParseRopeConfig does
  // not know.
  static absl::StatusOr<ModelConfig> Parse(absl::string_view json, const std::string& path);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_MODEL_CONFIG_H_

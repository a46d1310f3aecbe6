#include "worker/checkpoint/architecture_tensors.h"

#include "absl/strings/str_cat.h"

namespace merganser {

std::vector<ExpectedTensor> ArchitectureTensors(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t query = config.num_heads * config.head_dim;
  const int64_t key = config.num_kv_heads * config.head_dim;
  const int64_t mlp = config.intermediate_size;
  std::vector<ExpectedTensor> tensors;
  tensors.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    const auto projection = [&](absl::string_view name, int64_t out, int64_t in, bool bias) {
      tensors.push_back({absl::StrCat(layer, name, ".weight"), {out, in}});
      if (bias) tensors.push_back({absl::StrCat(layer, name, ".bias"), {out}});
    };
    tensors.push_back({absl::StrCat(layer, "input_layernorm.weight"), {hidden}});
    projection("self_attn.q_proj", query, hidden, config.attention_bias);
    projection("self_attn.k_proj", key, hidden, config.attention_bias);
    projection("self_attn.v_proj", key, hidden, config.attention_bias);
    if (config.qk_norm) {
      tensors.push_back({absl::StrCat(layer, "self_attn.q_norm.weight"), {config.head_dim}});
      tensors.push_back({absl::StrCat(layer, "self_attn.k_norm.weight"), {config.head_dim}});
    }
    projection("self_attn.o_proj", hidden, query, config.attention_output_bias);
    tensors.push_back({absl::StrCat(layer, "post_attention_layernorm.weight"), {hidden}});
    if (config.output_norms) {
      tensors.push_back({absl::StrCat(layer, "pre_feedforward_layernorm.weight"), {hidden}});
      tensors.push_back({absl::StrCat(layer, "post_feedforward_layernorm.weight"), {hidden}});
    }
    projection("mlp.gate_proj", mlp, hidden, config.mlp_bias);
    projection("mlp.up_proj", mlp, hidden, config.mlp_bias);
    projection("mlp.down_proj", hidden, mlp, config.mlp_bias);
  }
  tensors.push_back({"model.norm.weight", {hidden}});
  if (!config.tie_word_embeddings) tensors.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return tensors;
}

}  // namespace merganser

#include "worker/engine/weight_layout.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {

std::string LayerTensorName(int64_t layer, absl::string_view rest) {
  return absl::StrCat("model.layers.", layer, ".", rest);
}

std::vector<TensorSpec> WeightLayout(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  std::vector<TensorSpec> layout;
  layout.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto add = [&](absl::string_view rest, std::vector<int64_t> shape) {
      layout.push_back({LayerTensorName(i, rest), std::move(shape)});
    };
    add("input_layernorm.weight", {hidden});
    add("self_attn.q_proj.weight", {q, hidden});
    add("self_attn.k_proj.weight", {kv, hidden});
    add("self_attn.v_proj.weight", {kv, hidden});
    if (config.attention_bias) {
      add("self_attn.q_proj.bias", {q});
      add("self_attn.k_proj.bias", {kv});
      add("self_attn.v_proj.bias", {kv});
    }
    add("self_attn.o_proj.weight", {hidden, q});
    if (config.attention_bias) add("self_attn.o_proj.bias", {hidden});
    add("post_attention_layernorm.weight", {hidden});
    add("mlp.gate_proj.weight", {inner, hidden});
    add("mlp.up_proj.weight", {inner, hidden});
    if (config.mlp_bias) {
      add("mlp.gate_proj.bias", {inner});
      add("mlp.up_proj.bias", {inner});
    }
    add("mlp.down_proj.weight", {hidden, inner});
    if (config.mlp_bias) add("mlp.down_proj.bias", {hidden});
  }
  layout.push_back({"model.norm.weight", {hidden}});
  if (!config.tie_word_embeddings)
    layout.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return layout;
}

absl::StatusOr<WeightView> FindWeight(const WeightSource& source, const std::string& name,
                                      const std::vector<int64_t>& shape) {
  MG_ASSIGN_OR_RETURN(WeightView view, source.Find(name));
  if (view.shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", name, "' has shape ", ShapeText(view.shape),
                     ", but the model's config asks for ", ShapeText(shape)));
  }
  if (view.dtype != DType::kF32 && view.dtype != DType::kBF16 && view.dtype != DType::kF16 &&
      view.dtype != DType::kF64) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' has type ",
                                                   Name(view.dtype),
                                                   "; the engine reads BF16, F16, F32 and F64"));
  }
  return view;
}

}  // namespace merganser

#include "worker/engine/weight_layout.h"

#include <cmath>
#include <cstring>
#include <limits>

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
    if (config.qk_norm) {
      add("self_attn.q_norm.weight", {config.head_dim});
      add("self_attn.k_norm.weight", {config.head_dim});
    }
    add("self_attn.o_proj.weight", {hidden, q});
    if (config.attention_output_bias) add("self_attn.o_proj.bias", {hidden});
    add("post_attention_layernorm.weight", {hidden});
    if (config.output_norms) {
      add("pre_feedforward_layernorm.weight", {hidden});
      add("post_feedforward_layernorm.weight", {hidden});
    }
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
  if (!config.tie_word_embeddings) layout.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return layout;
}

absl::StatusOr<WeightView> FindWeight(const WeightSource& source, const std::string& name,
                                      const std::vector<int64_t>& shape) {
  MG_ASSIGN_OR_RETURN(WeightView view, source.Find(name));
  if (view.shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' has shape ", ShapeText(view.shape),
                                                   ", but the model's config asks for ", ShapeText(shape)));
  }
  if (view.dtype != DType::kF32 && view.dtype != DType::kBF16 && view.dtype != DType::kF16 && view.dtype != DType::kF64) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", name, "' has type ", Name(view.dtype), "; the engine reads BF16, F16, F32 and F64"));
  }
  return view;
}

absl::StatusOr<std::vector<LayerHop>> ReadStoredPath(const WeightSource& source, int64_t num_hops) {
  MG_ASSIGN_OR_RETURN(const WeightView layers, source.Find("model.input_layers"));
  MG_ASSIGN_OR_RETURN(const WeightView scales, source.Find("model.input_scales"));
  const std::vector<int64_t> shape{num_hops};
  const bool wide = layers.dtype == DType::kI64;
  if (layers.shape != shape || (!wide && layers.dtype != DType::kI32)) {
    return absl::InvalidArgumentError(absl::StrCat("tensor 'model.input_layers' is ", Name(layers.dtype), " with shape ",
                                                   ShapeText(layers.shape), "; num_hops asks for I32 with shape [", num_hops,
                                                   "]"));
  }
  if (scales.shape != shape || scales.dtype != DType::kF32) {
    return absl::InvalidArgumentError(absl::StrCat("tensor 'model.input_scales' is ", Name(scales.dtype), " with shape ",
                                                   ShapeText(scales.shape), "; num_hops asks for F32 with shape [", num_hops,
                                                   "]"));
  }
  std::vector<LayerHop> path(num_hops);
  for (int64_t i = 0; i < num_hops; ++i) {
    int64_t layer = 0;
    int32_t narrow = 0;
    if (wide) {
      std::memcpy(&layer, layers.data + i * 8, sizeof(layer));
    } else {
      std::memcpy(&narrow, layers.data + i * 4, sizeof(narrow));
      layer = narrow;
    }
    std::memcpy(&path[i].scale, scales.data + i * 4, sizeof(float));
    if (layer < 0 || layer > std::numeric_limits<int>::max() || !std::isfinite(path[i].scale)) {
      return absl::InvalidArgumentError(
          absl::StrCat("hop ", i, " of the model's path is layer ", layer, " with scale ", path[i].scale));
    }
    path[i].layer = static_cast<int>(layer);
  }
  return path;
}

}  // namespace merganser

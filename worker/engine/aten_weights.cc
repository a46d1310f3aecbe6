#include "worker/engine/aten_weights.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/device.h"
#include "worker/engine/scalar_type.h"
#include "worker/engine/weight_layout.h"

namespace merganser {
namespace {

int64_t Elements(const WeightView& view) {
  int64_t n = 1;
  for (const int64_t size : view.shape) n *= size;
  return n;
}

at::Tensor Blob(const std::byte* data, at::IntArrayRef shape, at::ScalarType type, c10::Device device) {
  // ATen has no pointer to const; the tensor is only ever read.
  return at::from_blob(const_cast<std::byte*>(data), shape, at::TensorOptions().dtype(type).device(device));
}

}  // namespace

absl::StatusOr<at::Tensor> AtenWeights::Fused(const WeightSource& source, const std::vector<std::string>& names,
                                              const std::vector<int64_t>& rows, int64_t columns,
                                              const at::TensorOptions& options) {
  MG_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(source.device()));
  const at::ScalarType wanted = c10::typeMetaToScalarType(options.dtype());
  std::vector<WeightView> views;
  int64_t all_rows = 0;
  bool in_place = source.may_alias() && device == options.device();
  for (size_t i = 0; i < names.size(); ++i) {
    std::vector<int64_t> shape{rows[i]};
    if (columns > 0) shape.push_back(columns);
    MG_ASSIGN_OR_RETURN(WeightView view, FindWeight(source, names[i], shape));
    if (i > 0) {
      const WeightView& before = views.back();
      in_place = in_place && before.data + Elements(before) * SizeOf(before.dtype) == view.data;
    }
    in_place = in_place && ScalarTypeOf(view.dtype) == wanted && reinterpret_cast<uintptr_t>(view.data) % 16 == 0;
    all_rows += rows[i];
    views.push_back(std::move(view));
  }
  std::vector<int64_t> shape{all_rows};
  if (columns > 0) shape.push_back(columns);
  if (in_place) return Blob(views[0].data, shape, wanted, device);

  at::Tensor& own = own_[names[0]];
  if (!own.defined()) own = at::empty(shape, options);
  int64_t row = 0;
  for (size_t i = 0; i < views.size(); ++i) {
    const WeightView& view = views[i];
    at::Tensor from;
    if (device.is_cpu() && reinterpret_cast<uintptr_t>(view.data) % SizeOf(view.dtype) != 0) {
      from = at::empty(view.shape, ScalarTypeOf(view.dtype));
      std::memcpy(from.data_ptr(), view.data, Elements(view) * SizeOf(view.dtype));
    } else {
      from = Blob(view.data, view.shape, ScalarTypeOf(view.dtype), device);
    }
    own.narrow(0, row, rows[i]).copy_(from);
    row += rows[i];
  }
  return own;
}

at::Tensor AtenWeights::PlusOne(const std::string& name, const at::Tensor& weight) {
  at::Tensor& own = own_[absl::StrCat(name, " + 1")];
  if (!own.defined()) own = at::empty_like(weight);
  return at::add_out(own, weight, at::scalar_tensor(1.0f));
}

absl::Status AtenWeights::LoadLayer(const ModelConfig& config, const WeightSource& source, int i,
                                    const at::TensorOptions& options) {
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  const auto norm = [&](at::Tensor& to, absl::string_view rest, int64_t size) -> absl::Status {
    const auto type = config.norm_adds_one ? options.dtype(at::kFloat) : options;
    MG_ASSIGN_OR_RETURN(to, Fused(source, {LayerTensorName(i, rest)}, {size}, 0, type));
    if (config.norm_adds_one) to = PlusOne(LayerTensorName(i, rest), to);
    return absl::OkStatus();
  };
  const auto linear = [&](Linear& to, const std::vector<std::string>& modules, const std::vector<int64_t>& rows,
                          int64_t columns, bool bias) -> absl::Status {
    std::vector<std::string> weights, biases;
    for (const std::string& module : modules) {
      weights.push_back(LayerTensorName(i, absl::StrCat(module, ".weight")));
      biases.push_back(LayerTensorName(i, absl::StrCat(module, ".bias")));
    }
    MG_ASSIGN_OR_RETURN(to.weight, Fused(source, weights, rows, columns, options));
    if (bias) {
      MG_ASSIGN_OR_RETURN(to.bias, Fused(source, biases, rows, 0, options));
    }
    return absl::OkStatus();
  };
  Layer& layer = layers_[i];
  MG_RETURN_IF_ERROR(norm(layer.input_norm, "input_layernorm.weight", hidden));
  MG_RETURN_IF_ERROR(norm(layer.post_norm, "post_attention_layernorm.weight", hidden));
  if (config.output_norms) {
    MG_RETURN_IF_ERROR(norm(layer.pre_mlp_norm, "pre_feedforward_layernorm.weight", hidden));
    MG_RETURN_IF_ERROR(norm(layer.post_mlp_norm, "post_feedforward_layernorm.weight", hidden));
  }
  if (config.qk_norm) {
    MG_RETURN_IF_ERROR(norm(layer.q_norm, "self_attn.q_norm.weight", config.head_dim));
    MG_RETURN_IF_ERROR(norm(layer.k_norm, "self_attn.k_norm.weight", config.head_dim));
  }
  MG_RETURN_IF_ERROR(linear(layer.qkv, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, {q, kv, kv}, hidden,
                            config.attention_bias));
  MG_RETURN_IF_ERROR(linear(layer.o, {"self_attn.o_proj"}, {hidden}, q, config.attention_output_bias));
  MG_RETURN_IF_ERROR(linear(layer.gate_up, {"mlp.gate_proj", "mlp.up_proj"}, {inner, inner}, hidden, config.mlp_bias));
  return linear(layer.down, {"mlp.down_proj"}, {hidden}, inner, config.mlp_bias);
}

absl::Status AtenWeights::Load(const ModelConfig& config, const WeightSource& source, int num_layers,
                               const WeightsWanted& wanted, const at::TensorOptions& options) {
  const int64_t hidden = config.hidden_size;
  if (constant_id_ == 0 || constant_id_ != source.constant_id()) loaded_ = {};
  constant_id_ = source.constant_id();
  layers_.resize(num_layers);
  for (const int i : wanted.layers) {
    if (loaded_.layers.count(i) > 0) continue;
    MG_RETURN_IF_ERROR(LoadLayer(config, source, i, options));
    loaded_.layers.insert(i);
  }
  const bool head_is_embedding = config.tie_word_embeddings && wanted.head;
  if ((wanted.embedding || head_is_embedding) && !loaded_.embedding) {
    MG_ASSIGN_OR_RETURN(embedding_, Fused(source, {"model.embed_tokens.weight"}, {config.vocab_size}, hidden, options));
    loaded_.embedding = true;
  }
  if (wanted.head && !loaded_.head) {
    const auto type = config.norm_adds_one ? options.dtype(at::kFloat) : options;
    MG_ASSIGN_OR_RETURN(final_norm_, Fused(source, {"model.norm.weight"}, {hidden}, 0, type));
    if (config.norm_adds_one) final_norm_ = PlusOne("model.norm.weight", final_norm_);
    head_ = embedding_;
    if (!config.tie_word_embeddings) {
      MG_ASSIGN_OR_RETURN(head_, Fused(source, {"lm_head.weight"}, {config.vocab_size}, hidden, options));
    }
    loaded_.head = true;
  }
  return absl::OkStatus();
}

}  // namespace merganser

#include "worker/vision/clip_tower.h"

#include <c10/core/InferenceMode.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

at::Tensor Activate(const at::Tensor& x, const std::string& name) {
  return name == "quick_gelu" ? x * at::sigmoid(1.702 * x) : at::gelu(x);
}

}  // namespace

absl::StatusOr<ClipTower> ClipTower::Load(const VisionConfig& config, const FindTensor& find) {
  ClipTower tower;
  tower.config_ = config;
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const auto norm = [&](const std::string& name, Norm* to) -> absl::Status {
    MG_ASSIGN_OR_RETURN(to->weight, find(name + ".weight", {hidden}));
    MG_ASSIGN_OR_RETURN(to->bias, find(name + ".bias", {hidden}));
    return absl::OkStatus();
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, Linear* to) -> absl::Status {
    MG_ASSIGN_OR_RETURN(to->weight, find(name + ".weight", {out, in}));
    MG_ASSIGN_OR_RETURN(to->bias, find(name + ".bias", {out}));
    return absl::OkStatus();
  };
  MG_ASSIGN_OR_RETURN(tower.patch_embedding_,
                      find("embeddings.patch_embedding.weight", {hidden, 3, config.patch_size, config.patch_size}));
  MG_ASSIGN_OR_RETURN(tower.class_embedding_, find("embeddings.class_embedding", {hidden}));
  MG_ASSIGN_OR_RETURN(tower.position_embedding_,
                      find("embeddings.position_embedding.weight", {1 + config.grid() * config.grid(), hidden}));
  MG_RETURN_IF_ERROR(norm("pre_layrnorm", &tower.pre_norm_));  // so it is spelt in every checkpoint
  // Hidden state 0 is the input of layer 0, hidden state i the output of layer i - 1.
  const int64_t wanted = config.feature_layer >= 0 ? config.feature_layer : config.num_layers + 1 + config.feature_layer;
  for (int64_t i = 0; i < wanted; ++i) {
    const std::string prefix = absl::StrCat("encoder.layers.", i, ".");
    Layer layer;
    MG_RETURN_IF_ERROR(norm(prefix + "layer_norm1", &layer.norm1));
    MG_RETURN_IF_ERROR(norm(prefix + "layer_norm2", &layer.norm2));
    Linear q, k, v;
    MG_RETURN_IF_ERROR(linear(prefix + "self_attn.q_proj", hidden, hidden, &q));
    MG_RETURN_IF_ERROR(linear(prefix + "self_attn.k_proj", hidden, hidden, &k));
    MG_RETURN_IF_ERROR(linear(prefix + "self_attn.v_proj", hidden, hidden, &v));
    MG_RETURN_IF_ERROR(CatchTorch("joining the vision tower's q, k and v", [&] {
      c10::InferenceMode guard;
      layer.qkv = {at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias})};
    }));
    MG_RETURN_IF_ERROR(linear(prefix + "self_attn.out_proj", hidden, hidden, &layer.out));
    MG_RETURN_IF_ERROR(linear(prefix + "mlp.fc1", inner, hidden, &layer.fc1));
    MG_RETURN_IF_ERROR(linear(prefix + "mlp.fc2", hidden, inner, &layer.fc2));
    tower.layers_.push_back(std::move(layer));
  }
  return tower;
}

at::Tensor ClipTower::Apply(const Norm& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {config_.hidden_size}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor ClipTower::Attend(const Layer& layer, const at::Tensor& x) const {
  const int64_t tiles = x.size(0), tokens = x.size(1), heads = config_.num_heads;
  // [3, tiles, heads, tokens, head_dim]
  const at::Tensor qkv =
      at::linear(x, layer.qkv.weight, layer.qkv.bias).view({tiles, tokens, 3, heads, -1}).permute({2, 0, 3, 1, 4});
  const at::Tensor attended = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  return at::linear(attended.transpose(1, 2).reshape({tiles, tokens, config_.hidden_size}), layer.out.weight,
                    layer.out.bias);
}

at::Tensor ClipTower::Forward(const at::Tensor& pixels) const {
  const int64_t tiles = pixels.size(0);
  const at::Tensor patches = at::conv2d(pixels, patch_embedding_, {}, config_.patch_size).flatten(2).transpose(1, 2);
  const at::Tensor first = class_embedding_.expand({tiles, 1, config_.hidden_size});
  at::Tensor x = Apply(pre_norm_, at::cat({first, patches}, 1) + position_embedding_);
  for (const Layer& layer : layers_) {
    x = x + Attend(layer, Apply(layer.norm1, x));
    const at::Tensor inner =
        Activate(at::linear(Apply(layer.norm2, x), layer.fc1.weight, layer.fc1.bias), config_.hidden_act);
    x = x + at::linear(inner, layer.fc2.weight, layer.fc2.bias);
  }
  return x;
}

}  // namespace merganser

#include "worker/engine/aten_model.h"

#include <bit>
#include <cmath>

#include "worker/engine/aten_forms.h"

namespace merganser {
namespace {

at::Tensor Norm(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight) {
  return config.norm_adds_one ? GemmaNorm(x, weight, config.rms_norm_eps) : RmsNorm(x, weight, config.rms_norm_eps);
}

uint64_t Address(const at::Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) : 0;
}

}  // namespace

std::vector<uint64_t> AtenModel::Identity() const {
  std::vector<uint64_t> identity{Address(embedding), Address(final_norm), Address(head)};
  for (const Hop& hop : path) {
    const AtenWeights::Layer& layer = hop.layer;
    for (const at::Tensor* norm :
         {&layer.input_norm, &layer.post_norm, &layer.pre_mlp_norm, &layer.post_mlp_norm, &layer.q_norm, &layer.k_norm}) {
      identity.push_back(Address(*norm));
    }
    for (const AtenWeights::Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      identity.push_back(Address(linear->weight));
      identity.push_back(Address(linear->bias));
    }
    identity.push_back(std::bit_cast<uint32_t>(hop.scale));
    identity.push_back(static_cast<uint64_t>(hop.window) * 2 + (hop.sliding_rope ? 1 : 0));
  }
  return identity;
}

at::Tensor ApplyLinear(const at::Tensor& x, const AtenWeights::Linear& linear) {
  return linear.bias.defined() ? at::linear(x, linear.weight, linear.bias) : at::linear(x, linear.weight);
}

at::Tensor EmbedTokens(const ModelConfig& config, const AtenModel& model, const at::Tensor& ids) {
  at::Tensor x = model.embedding.index_select(0, ids);
  // The factor is rounded to the weights' type first, as transformers does: 55.5 for 3072 in bf16.
  if (config.scale_embedding) {
    x.mul_(at::scalar_tensor(std::sqrt(static_cast<double>(config.hidden_size)), x.options()));
  }
  return x;
}

void RunPath(const ModelConfig& config, const AtenModel& model, StepTensors step, const at::Tensor& cache, at::Tensor& x) {
  const int64_t tokens = x.size(0);
  const int64_t heads = config.num_heads;
  const int64_t kv_heads = config.num_kv_heads;
  const int64_t dim = config.head_dim;
  step.plan.scale =
      1.0 / std::sqrt(config.query_pre_attn_scalar > 0 ? config.query_pre_attn_scalar : static_cast<double>(dim));
  step.plan.softcap = config.attention_softcap;
  if (model.path[0].scale != 1.0f) x.mul_(model.path[0].scale);
  for (size_t i = 0; i < model.path.size(); ++i) {
    const AtenModel::Hop& hop = model.path[i];
    const AtenWeights::Layer& layer = hop.layer;
    const at::Tensor keys_values = cache[static_cast<int64_t>(i)];
    const at::Tensor qkv =
        ApplyLinear(Norm(config, x, layer.input_norm), layer.qkv).view({tokens, heads + 2 * kv_heads, dim});
    if (config.qk_norm) {
      at::Tensor q = qkv.narrow(1, 0, heads);
      at::Tensor k = qkv.narrow(1, heads, kv_heads);
      q.copy_(Norm(config, q, layer.q_norm));
      k.copy_(Norm(config, k, layer.k_norm));
    }
    at::Tensor qk = qkv.narrow(1, 0, heads + kv_heads);
    const Rotation& turn = hop.sliding_rope ? step.sliding_rotation : step.rotation;
    RotateHeads(qk, turn.cos, turn.sin);
    keys_values.index_copy_(0, step.cache_rows, qkv.narrow(1, heads, 2 * kv_heads).view({tokens, 2, kv_heads, dim}));
    at::Tensor attended = ApplyLinear(Attend(qkv.narrow(1, 0, heads), keys_values, step.plan, hop.window), layer.o);
    if (config.output_norms) attended = Norm(config, attended, layer.post_norm);
    x.add_(attended);
    const at::Tensor& mlp_norm = config.output_norms ? layer.pre_mlp_norm : layer.post_norm;
    const at::Tensor gate_up = ApplyLinear(Norm(config, x, mlp_norm), layer.gate_up);
    const at::Tensor gate = gate_up.narrow(1, 0, config.intermediate_size);
    const at::Tensor inner =
        Activate(gate, config.hidden_act).mul_(gate_up.narrow(1, config.intermediate_size, config.intermediate_size));
    at::Tensor output = ApplyLinear(inner, layer.down);
    if (config.output_norms) output = Norm(config, output, layer.post_mlp_norm);
    AddScaled(x, output, i + 1 < model.path.size() ? model.path[i + 1].scale : 1.0f);
  }
}

at::Tensor LogitsOf(const ModelConfig& config, const AtenModel& model, const at::Tensor& hidden) {
  at::Tensor logits = at::linear(Norm(config, hidden, model.final_norm), model.head);
  if (config.final_softcap > 0) Softcap(logits, config.final_softcap);
  return logits;
}

}  // namespace merganser

#include "worker/engine/aten_runner.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/aten_attention.h"
#include "worker/engine/aten_forms.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

// The rows of `x` [tokens, hidden] that are not tokens' own, in one copy to the device.
void PutEmbeddings(const StepBatch& batch, at::Tensor& x) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < batch.embeddings.size(); ++i) {
    if (batch.embeddings[i] != nullptr) rows.push_back(static_cast<int64_t>(i));
  }
  if (rows.empty()) return;
  const int64_t hidden = x.size(1);
  at::Tensor values = at::empty({static_cast<int64_t>(rows.size()), hidden}, at::kFloat);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(values.data_ptr<float>() + static_cast<int64_t>(i) * hidden, batch.embeddings[rows[i]], hidden * sizeof(float));
  }
  x.index_copy_(0, at::tensor(rows, at::kLong).to(x.device()), values.to(x.options()));
}

at::Tensor Apply(const at::Tensor& x, const AtenWeights::Linear& linear) {
  return linear.bias.defined() ? at::linear(x, linear.weight, linear.bias) : at::linear(x, linear.weight);
}

}  // namespace

int64_t AtenRunner::SlotBytes(const ModelConfig& config, at::ScalarType type, int64_t max_length, int max_hops) {
  return max_length * 2 * config.num_kv_heads * config.head_dim * max_hops * static_cast<int64_t>(c10::elementSize(type));
}

absl::StatusOr<std::unique_ptr<AtenRunner>> AtenRunner::Create(const ModelConfig& config, c10::Device device,
                                                               at::ScalarType type, int slots, int64_t max_length,
                                                               int max_hops) {
  MG_RETURN_IF_ERROR(CheckActivation(config.hidden_act));
  std::unique_ptr<AtenRunner> runner(new AtenRunner(config, max_length));
  runner->options_ = at::TensorOptions().dtype(type).device(device);
  runner->flash_ = CanUseFlashAttention(runner->options_, config.head_dim) && config.attention_softcap == 0;
  MG_RETURN_IF_ERROR(CatchTorch("allocating the key-value cache", [&] {
    c10::InferenceMode guard;
    runner->rope_ = runner->MakeRope({config.rope_theta, config.rope_scaling});
    if (config.sliding_rope) runner->sliding_rope_ = runner->MakeRope(*config.sliding_rope);
    runner->cache_ = at::zeros({max_hops, slots * max_length, 2, config.num_kv_heads, config.head_dim}, runner->options_);
  }));
  return runner;
}

AtenRunner::Rope AtenRunner::MakeRope(const RopeConfig& config) const {
  Rope rope;
  rope.table = RopeTable(config, config_.head_dim, config_.max_position_embeddings, max_length_);
  if (rope.table.depends_on_context()) return rope;
  const auto tensor = [&](const std::vector<float>& values) {
    return at::from_blob(const_cast<float*>(values.data()), {max_length_, 1, rope.table.half()}, at::kFloat);
  };
  const at::Tensor cos = tensor(rope.table.cos());
  const at::Tensor sin = tensor(rope.table.sin());
  rope.all.cos = at::cat({cos, cos}, -1).to(options_);
  rope.all.sin = at::cat({-sin, sin}, -1).to(options_);
  return rope;
}

AtenRunner::Rotation AtenRunner::RotationOf(const Rope& rope, const StepBatch& batch, const at::Tensor& positions) const {
  if (!rope.table.depends_on_context()) {
    return {rope.all.cos.index_select(0, positions), rope.all.sin.index_select(0, positions)};
  }
  const int64_t half = rope.table.half();
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size());
  at::Tensor cos = at::empty({tokens, 1, half}, at::kFloat);
  at::Tensor sin = at::empty({tokens, 1, half}, at::kFloat);
  std::vector<float> scratch(2 * half);
  float* cos_row = cos.data_ptr<float>();
  float* sin_row = sin.data_ptr<float>();
  for (const Segment& segment : batch.segments) {
    const int64_t context = std::max(segment.context, segment.past + segment.length);
    for (int i = 0; i < segment.length; ++i, cos_row += half, sin_row += half) {
      const RopeTable::Row row = rope.table.At(segment.past + i, context, scratch.data());
      std::copy_n(row.cos, half, cos_row);
      std::copy_n(row.sin, half, sin_row);
    }
  }
  return {at::cat({cos, cos}, -1).to(options_), at::cat({-sin, sin}, -1).to(options_)};
}

absl::Status AtenRunner::RunMatrices(int rows, int head_rows) {
  return CatchTorch("running the matrices", [&] {
    c10::InferenceMode guard;
    const at::Tensor x = at::ones({rows, config_.hidden_size}, options_);
    const at::Tensor attended = at::ones({rows, config_.num_heads * config_.head_dim}, options_);
    const at::Tensor inner = at::ones({rows, config_.intermediate_size}, options_);
    at::Tensor last;
    for (const HopWeights& hop : path_) {
      last = Apply(x, hop.layer->qkv);
      last = Apply(attended, hop.layer->o);
      last = Apply(x, hop.layer->gate_up);
      last = Apply(inner, hop.layer->down);
    }
    if (head_rows > 0) last = at::linear(x.narrow(0, 0, head_rows), head_->head());
    // Waits for the device.
    last.reshape({-1}).narrow(0, 0, 1).to(at::kCPU);
  });
}

absl::Status AtenRunner::LoadWeights(const ModelWeights& weights) {
  path_.clear();
  return CatchTorchStatus("loading the weights", [&] {
    c10::InferenceMode guard;
    return Load(weights);
  });
}

absl::Status AtenRunner::Load(const ModelWeights& weights) {
  std::vector<WeightsWanted> wanted(weights.stacks.size());
  for (const LayerHop& hop : weights.path) wanted[hop.stack].layers.insert(hop.layer);
  wanted[weights.embedding_stack].embedding = true;
  wanted[weights.head_stack].head = true;

  // Each stack takes what holds its layers already, else the memory of one that nobody wants.
  std::vector<std::unique_ptr<AtenWeights>> before = std::move(stacks_);
  stacks_.clear();
  stacks_.resize(weights.stacks.size());
  const auto claim = [&](const auto& fits) {
    for (size_t i = 0; i < stacks_.size(); ++i) {
      for (std::unique_ptr<AtenWeights>& old : before) {
        if (stacks_[i] == nullptr && old != nullptr && fits(*old, weights.stacks[i].source->constant_id())) {
          stacks_[i] = std::move(old);
        }
      }
    }
  };
  claim([](const AtenWeights& old, uint64_t id) { return id != 0 && old.constant_id() == id; });
  claim([](const AtenWeights&, uint64_t) { return true; });
  before.clear();
  for (size_t i = 0; i < stacks_.size(); ++i) {
    const ModelWeights::Stack& stack = weights.stacks[i];
    if (stacks_[i] == nullptr) stacks_[i] = std::make_unique<AtenWeights>();
    const int layers = stack.num_layers > 0 ? stack.num_layers : static_cast<int>(config_.num_layers);
    MG_RETURN_IF_ERROR(stacks_[i]->Load(config_, *stack.source, layers, wanted[i], options_));
  }
  embedding_ = stacks_[weights.embedding_stack].get();
  head_ = stacks_[weights.head_stack].get();
  for (const LayerHop& hop : weights.path) {
    // A stack with more layers than the config goes on with the config's pattern at its last ones.
    const int64_t layer = std::min<int64_t>(hop.layer, config_.num_layers - 1);
    path_.push_back(
        {&stacks_[hop.stack]->layer(hop.layer), hop.scale, config_.WindowOf(layer), config_.UsesSlidingRope(layer)});
  }
  return absl::OkStatus();
}

absl::Status AtenRunner::CopyPositions(int from, int to, int begin, int end) {
  return CatchTorch("copying cached positions", [&] {
    c10::InferenceMode guard;
    cache_.narrow(1, to * max_length_ + begin, end - begin).copy_(cache_.narrow(1, from * max_length_ + begin, end - begin));
  });
}

at::Tensor AtenRunner::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  return config_.norm_adds_one ? GemmaNorm(x, weight, config_.rms_norm_eps) : RmsNorm(x, weight, config_.rms_norm_eps);
}

at::Tensor AtenRunner::Hidden(const StepBatch& batch) {
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size());
  int64_t outputs = 0;
  for (const Segment& segment : batch.segments) outputs += segment.outputs;
  // Token ids, positions, cache rows and wanted rows go to the device in one copy.
  at::Tensor host = at::empty({3 * tokens + outputs}, at::kLong);
  int64_t* ids = host.data_ptr<int64_t>();
  int64_t* positions = ids + tokens;
  int64_t* cache_rows = positions + tokens;
  int64_t* wanted = cache_rows + tokens;
  int64_t row = 0;
  for (const Segment& segment : batch.segments) {
    for (int i = 0; i < segment.length; ++i, ++row) {
      ids[row] = batch.tokens[row];
      positions[row] = segment.past + i;
      cache_rows[row] = segment.slot * max_length_ + segment.past + i;
      if (i >= segment.length - segment.outputs) *wanted++ = row;
    }
  }
  const at::Tensor index = host.to(options_.device());
  const at::Tensor position = index.narrow(0, tokens, tokens);
  const at::Tensor cache_row = index.narrow(0, 2 * tokens, tokens);
  const Rotation rotation = RotationOf(rope_, batch, position);
  const Rotation sliding_rotation = config_.sliding_rope ? RotationOf(sliding_rope_, batch, position) : Rotation{};
  AttentionPlan plan = MakeAttentionPlan(batch.segments, max_length_, flash_, options_.device());
  const int64_t heads = config_.num_heads;
  const int64_t kv_heads = config_.num_kv_heads;
  const int64_t dim = config_.head_dim;
  plan.scale = 1.0 / std::sqrt(config_.query_pre_attn_scalar > 0 ? config_.query_pre_attn_scalar : static_cast<double>(dim));
  plan.softcap = config_.attention_softcap;

  at::Tensor x = embedding_->embedding().index_select(0, index.narrow(0, 0, tokens));
  // The factor is rounded to the weights' type first, as transformers does: 55.5 for 3072 in bf16.
  if (config_.scale_embedding) {
    x.mul_(at::scalar_tensor(std::sqrt(static_cast<double>(config_.hidden_size)), options_));
  }
  PutEmbeddings(batch, x);
  if (path_[0].scale != 1.0f) x.mul_(path_[0].scale);
  for (size_t hop = 0; hop < path_.size(); ++hop) {
    const AtenWeights::Layer& layer = *path_[hop].layer;
    const at::Tensor cache = cache_[static_cast<int64_t>(hop)];
    const at::Tensor qkv = Apply(Norm(x, layer.input_norm), layer.qkv).view({tokens, heads + 2 * kv_heads, dim});
    if (config_.qk_norm) {
      at::Tensor q = qkv.narrow(1, 0, heads);
      at::Tensor k = qkv.narrow(1, heads, kv_heads);
      q.copy_(Norm(q, layer.q_norm));
      k.copy_(Norm(k, layer.k_norm));
    }
    at::Tensor qk = qkv.narrow(1, 0, heads + kv_heads);
    const Rotation& turn = path_[hop].sliding_rope ? sliding_rotation : rotation;
    RotateHeads(qk, turn.cos, turn.sin);
    cache.index_copy_(0, cache_row, qkv.narrow(1, heads, 2 * kv_heads).view({tokens, 2, kv_heads, dim}));
    at::Tensor attended = Apply(Attend(qkv.narrow(1, 0, heads), cache, plan, path_[hop].window), layer.o);
    if (config_.output_norms) attended = Norm(attended, layer.post_norm);
    x.add_(attended);
    const at::Tensor& mlp_norm = config_.output_norms ? layer.pre_mlp_norm : layer.post_norm;
    const at::Tensor gate_up = Apply(Norm(x, mlp_norm), layer.gate_up);
    const at::Tensor gate = gate_up.narrow(1, 0, config_.intermediate_size);
    const at::Tensor inner =
        Activate(gate, config_.hidden_act).mul_(gate_up.narrow(1, config_.intermediate_size, config_.intermediate_size));
    at::Tensor output = Apply(inner, layer.down);
    if (config_.output_norms) output = Norm(output, layer.post_mlp_norm);
    AddScaled(x, output, hop + 1 < path_.size() ? path_[hop + 1].scale : 1.0f);
  }
  return x.index_select(0, index.narrow(0, 3 * tokens, outputs));
}

absl::Status AtenRunner::Run(const StepBatch& batch, const StepResults& results) {
  c10::InferenceMode guard;
  const at::Tensor hidden = Hidden(batch);
  if (results.rows.empty()) return absl::OkStatus();
  at::Tensor logits = at::linear(Norm(hidden, head_->final_norm()), head_->head());
  if (config_.final_softcap > 0) Softcap(logits, config_.final_softcap);
  const at::Tensor rows = logits.to(at::kFloat);
  const auto [max, argmax] = rows.max(1);
  const at::Tensor largest = max.to(at::kCPU);
  const at::Tensor best = argmax.to(at::kCPU);
  const at::Tensor finite = rows.isfinite().all().to(at::kCPU);
  at::Tensor log_sums;
  if (batch.log_sums || !batch.targets.empty()) {
    log_sums = rows.logsumexp(1).to(at::kCPU);
  }
  for (size_t i = 0; i < results.rows.size(); ++i) {
    RowResult& row = results.rows[i];
    row.argmax = static_cast<int32_t>(best.const_data_ptr<int64_t>()[i]);
    row.max = largest.const_data_ptr<float>()[i];
    row.log_sum = log_sums.defined() ? log_sums.const_data_ptr<float>()[i] : 0.0;
  }
  if (!batch.targets.empty()) {
    const int64_t n = static_cast<int64_t>(batch.targets.size());
    at::Tensor places = at::empty({n}, at::kLong);
    int64_t* place = places.data_ptr<int64_t>();
    for (const Target& target : batch.targets) {
      *place++ = target.result * config_.vocab_size + target.token;
    }
    const at::Tensor wanted = rows.reshape({-1}).index_select(0, places.to(rows.device())).to(at::kCPU);
    for (int64_t i = 0; i < n; ++i) {
      results.log_probs[i] =
          static_cast<double>(wanted.const_data_ptr<float>()[i]) - results.rows[batch.targets[i].result].log_sum;
    }
  }
  if (results.logits != nullptr) {
    const at::Tensor host = rows.to(at::kCPU).contiguous();
    std::memcpy(results.logits, host.const_data_ptr<float>(), host.numel() * sizeof(float));
  }
  if (!finite.item<bool>()) {
    return absl::InvalidArgumentError("the model's logits are not finite: its weights overflow or hold NaN");
  }
  return absl::OkStatus();
}

absl::Status AtenRunner::Step(const StepBatch& batch, const StepResults& results) {
  return CatchTorchStatus("running the model", [&] { return Run(batch, results); });
}

}  // namespace merganser

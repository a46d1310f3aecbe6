#include "worker/engine/aten_runner.h"

#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/aten_attention.h"
#include "worker/engine/rope_table.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

at::Tensor Apply(const at::Tensor& x, const AtenWeights::Linear& linear) {
  return linear.bias.defined() ? at::linear(x, linear.weight, linear.bias)
                               : at::linear(x, linear.weight);
}

}  // namespace

int64_t AtenRunner::SlotBytes(const ModelConfig& config, at::ScalarType type, int64_t max_length,
                              int max_hops) {
  return max_length * 2 * config.num_kv_heads * config.head_dim * max_hops *
         static_cast<int64_t>(c10::elementSize(type));
}

absl::StatusOr<std::unique_ptr<AtenRunner>> AtenRunner::Create(const ModelConfig& config,
                                                               c10::Device device,
                                                               at::ScalarType type, int slots,
                                                               int64_t max_length, int max_hops) {
  if (config.hidden_act != "silu") {
    return absl::UnimplementedError(absl::StrCat("hidden_act '", config.hidden_act,
                                                 "' is not supported by the engine (silu is)"));
  }
  MG_ASSIGN_OR_RETURN(RopeTable rope, MakeRopeTable(config, max_length));
  std::unique_ptr<AtenRunner> runner(new AtenRunner(config, max_length));
  runner->options_ = at::TensorOptions().dtype(type).device(device);
  runner->flash_ = CanUseFlashAttention(runner->options_, config.head_dim);
  MG_RETURN_IF_ERROR(CatchTorch("allocating the key-value cache", [&] {
    c10::InferenceMode guard;
    const at::Tensor cos = at::from_blob(rope.cos.data(), {max_length, 1, rope.half}, at::kFloat);
    const at::Tensor sin = at::from_blob(rope.sin.data(), {max_length, 1, rope.half}, at::kFloat);
    runner->cos_ = at::cat({cos, cos}, -1).to(runner->options_);
    runner->sin_ = at::cat({-sin, sin}, -1).to(runner->options_);
    runner->cache_ = at::zeros(
        {max_hops, slots * max_length, 2, config.num_kv_heads, config.head_dim}, runner->options_);
  }));
  return runner;
}

absl::Status AtenRunner::LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path) {
  path_.clear();
  MG_RETURN_IF_ERROR(CatchTorchStatus("loading the weights", [&] {
    c10::InferenceMode guard;
    return weights_.Load(config_, source, options_);
  }));
  path_.assign(path.begin(), path.end());
  return absl::OkStatus();
}

absl::Status AtenRunner::CopyPositions(int from, int to, int begin, int end) {
  return CatchTorch("copying cached positions", [&] {
    c10::InferenceMode guard;
    cache_.narrow(1, to * max_length_ + begin, end - begin)
        .copy_(cache_.narrow(1, from * max_length_ + begin, end - begin));
  });
}

at::Tensor AtenRunner::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  // Normalised in fp32, rounded, and then multiplied: as transformers rounds.
  return at::rms_norm(x, {config_.hidden_size}, c10::nullopt, config_.rms_norm_eps).mul_(weight);
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
  const at::Tensor cos = cos_.index_select(0, position);
  const at::Tensor sin = sin_.index_select(0, position);
  const AttentionPlan plan = MakeAttentionPlan(
      batch.segments, max_length_, config_.sliding_window.value_or(0), flash_, options_.device());
  const int64_t heads = config_.num_heads;
  const int64_t kv_heads = config_.num_kv_heads;
  const int64_t dim = config_.head_dim;

  at::Tensor x = weights_.embedding().index_select(0, index.narrow(0, 0, tokens));
  if (path_[0].scale != 1.0f) x.mul_(path_[0].scale);
  for (size_t hop = 0; hop < path_.size(); ++hop) {
    const AtenWeights::Layer& layer = weights_.layer(path_[hop].layer);
    const at::Tensor cache = cache_[static_cast<int64_t>(hop)];
    const at::Tensor qkv =
        Apply(Norm(x, layer.input_norm), layer.qkv).view({tokens, heads + 2 * kv_heads, dim});
    at::Tensor qk = qkv.narrow(1, 0, heads + kv_heads);
    const at::Tensor rotated = at::roll(qk, dim / 2, -1);
    qk.mul_(cos).add_(rotated.mul_(sin));
    cache.index_copy_(0, cache_row,
                      qkv.narrow(1, heads, 2 * kv_heads).view({tokens, 2, kv_heads, dim}));
    x.add_(Apply(Attend(qkv.narrow(1, 0, heads), cache, plan), layer.o));
    const at::Tensor gate_up = Apply(Norm(x, layer.post_norm), layer.gate_up);
    at::Tensor gate = gate_up.narrow(1, 0, config_.intermediate_size);
    const at::Tensor inner = at::silu(gate).mul_(
        gate_up.narrow(1, config_.intermediate_size, config_.intermediate_size));
    const float scale = hop + 1 < path_.size() ? path_[hop + 1].scale : 1.0f;
    x.add_(Apply(inner, layer.down), scale);
  }
  return x.index_select(0, index.narrow(0, 3 * tokens, outputs));
}

absl::Status AtenRunner::Run(const StepBatch& batch, const StepResults& results) {
  c10::InferenceMode guard;
  const at::Tensor hidden = Hidden(batch);
  if (results.rows.empty()) return absl::OkStatus();
  const at::Tensor rows =
      at::linear(Norm(hidden, weights_.final_norm()), weights_.head()).to(at::kFloat);
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
    const at::Tensor logits =
        rows.reshape({-1}).index_select(0, places.to(rows.device())).to(at::kCPU);
    for (int64_t i = 0; i < n; ++i) {
      results.log_probs[i] = static_cast<double>(logits.const_data_ptr<float>()[i]) -
                             results.rows[batch.targets[i].result].log_sum;
    }
  }
  if (results.logits != nullptr) {
    const at::Tensor host = rows.to(at::kCPU).contiguous();
    std::memcpy(results.logits, host.const_data_ptr<float>(), host.numel() * sizeof(float));
  }
  if (!finite.item<bool>()) {
    return absl::InvalidArgumentError(
        "the model's logits are not finite: its weights overflow or hold NaN");
  }
  return absl::OkStatus();
}

absl::Status AtenRunner::Step(const StepBatch& batch, const StepResults& results) {
  return CatchTorchStatus("running the model", [&] { return Run(batch, results); });
}

}  // namespace merganser

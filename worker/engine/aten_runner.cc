#include "worker/engine/aten_runner.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/engine/aten_attention.h"
#include "worker/engine/aten_forms.h"
#include "worker/engine/flash_check.h"
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
    std::memcpy(values.data_ptr<float>() + static_cast<int64_t>(i) * hidden, batch.embeddings[rows[i]],
                hidden * sizeof(float));
  }
  x.index_copy_(0, at::tensor(rows, at::kLong).to(x.device()), values.to(x.options()));
}

}  // namespace

int64_t AtenRunner::SlotBytes(const ModelConfig& config, at::ScalarType type, int64_t max_length, int max_hops) {
  return max_length * 2 * config.num_kv_heads * config.head_dim * max_hops * static_cast<int64_t>(c10::elementSize(type));
}

absl::StatusOr<std::unique_ptr<AtenRunner>> AtenRunner::Create(const ModelConfig& config, c10::Device device,
                                                               at::ScalarType type, int slots, int64_t max_length,
                                                               int max_hops, std::unique_ptr<StepRecorder> recorder) {
  MG_RETURN_IF_ERROR(CheckActivation(config.hidden_act));
  std::unique_ptr<AtenRunner> runner(new AtenRunner(config, max_length));
  runner->options_ = at::TensorOptions().dtype(type).device(device);
  runner->flash_ = CanUseFlashAttention(runner->options_, config.head_dim) && config.attention_softcap == 0;
  if (runner->flash_) {
    const absl::Status works = CheckFlashAttention(runner->options_, config.num_heads, config.num_kv_heads, config.head_dim);
    if (absl::IsResourceExhausted(works)) return works;
    if (!works.ok()) {
      MG_LOG(WARNING) << "flash attention is not used on " << device.str()
                      << ", which makes the engine several times slower: " << works.message();
      runner->flash_ = false;
    }
  }
  const int64_t rows = slots * max_length + (recorder != nullptr ? 1 : 0);
  // The last slot's end is counted as well.
  if (runner->flash_ && rows + max_length > INT32_MAX) {
    return absl::ResourceExhaustedError(absl::StrCat("a key-value cache of ", slots, " slots of ", max_length,
                                                     " positions has more rows than flash attention counts (", INT32_MAX,
                                                     "): fewer sequences, or shorter ones"));
  }
  MG_RETURN_IF_ERROR(CatchTorch("allocating the key-value cache", [&] {
    c10::InferenceMode guard;
    runner->rope_ = AtenRope({config.rope_theta, config.rope_scaling}, config, max_length, runner->options_);
    if (config.sliding_rope) runner->sliding_rope_ = AtenRope(*config.sliding_rope, config, max_length, runner->options_);
    runner->cache_ = at::zeros({max_hops, rows, 2, config.num_kv_heads, config.head_dim}, runner->options_);
    if (recorder == nullptr) return;
    runner->decoding_ =
        std::make_unique<AtenDecoding>(config, runner->options_, runner->cache_, slots, max_length, runner->flash_,
                                       runner->rope_, runner->sliding_rope_, std::move(recorder));
  }));
  return runner;
}

absl::Status AtenRunner::RunMatrices(int rows, int head_rows) {
  return CatchTorch("running the matrices", [&] {
    c10::InferenceMode guard;
    const at::Tensor x = at::ones({rows, config_.hidden_size}, options_);
    const at::Tensor attended = at::ones({rows, config_.num_heads * config_.head_dim}, options_);
    const at::Tensor inner = at::ones({rows, config_.intermediate_size}, options_);
    at::Tensor last;
    for (const AtenModel::Hop& hop : model_->path) {
      last = ApplyLinear(x, hop.layer.qkv);
      last = ApplyLinear(attended, hop.layer.o);
      last = ApplyLinear(x, hop.layer.gate_up);
      last = ApplyLinear(inner, hop.layer.down);
    }
    if (head_rows > 0) last = at::linear(x.narrow(0, 0, head_rows), model_->head);
    // Waits for the device.
    last.reshape({-1}).narrow(0, 0, 1).to(at::kCPU);
  });
}

absl::Status AtenRunner::LoadWeights(const ModelWeights& weights) {
  model_ = nullptr;
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
  auto model = std::make_shared<AtenModel>();
  model->embedding = stacks_[weights.embedding_stack]->embedding();
  model->final_norm = stacks_[weights.head_stack]->final_norm();
  model->head = stacks_[weights.head_stack]->head();
  for (const LayerHop& hop : weights.path) {
    // A stack with more layers than the config goes on with the config's pattern at its last ones.
    const int64_t layer = std::min<int64_t>(hop.layer, config_.num_layers - 1);
    model->path.push_back(
        {stacks_[hop.stack]->layer(hop.layer), hop.scale, config_.WindowOf(layer), config_.UsesSlidingRope(layer)});
  }
  identity_ = model->Identity();
  model_ = std::move(model);
  return absl::OkStatus();
}

absl::Status AtenRunner::CopyPositions(int from, int to, int begin, int end) {
  return CatchTorch("copying cached positions", [&] {
    c10::InferenceMode guard;
    cache_.narrow(1, to * max_length_ + begin, end - begin).copy_(cache_.narrow(1, from * max_length_ + begin, end - begin));
  });
}

at::Tensor AtenRunner::Hidden(const StepBatch& batch) {
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size());
  // In one copy to the device.
  const at::Tensor index = StepIndex(batch, max_length_).to(options_.device());
  const at::Tensor positions = index.narrow(0, tokens, tokens);
  const auto rotation = [&](const AtenRope& rope) {
    return rope.depends_on_context() ? rope.Of(batch.segments) : rope.At(positions);
  };
  StepTensors step;
  step.ids = index.narrow(0, 0, tokens);
  step.cache_rows = index.narrow(0, 2 * tokens, tokens);
  step.rotation = rotation(rope_);
  if (config_.sliding_rope) step.sliding_rotation = rotation(sliding_rope_);
  step.plan = MakeAttentionPlan(batch.segments, max_length_, flash_, options_.device());
  at::Tensor x = EmbedTokens(config_, *model_, step.ids);
  PutEmbeddings(batch, x);
  RunPath(config_, *model_, std::move(step), cache_, x);
  return x.index_select(0, index.narrow(0, 3 * tokens, index.size(0) - 3 * tokens));
}

absl::Status AtenRunner::Run(const StepBatch& batch, const StepResults& results) {
  c10::InferenceMode guard;
  at::Tensor rows;
  if (decoding_ != nullptr && AtenDecoding::Takes(batch)) {
    rows = decoding_->Logits(model_, identity_, batch);
  } else {
    const at::Tensor hidden = Hidden(batch);
    if (!results.rows.empty()) rows = LogitsOf(config_, *model_, hidden).to(at::kFloat);
  }
  if (results.rows.empty()) return absl::OkStatus();
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

#include "worker/engine/aten_decoding.h"

#include <algorithm>
#include <utility>

namespace merganser {
namespace {

Rotation RotationBuffer(const AtenRope& rope, const at::TensorOptions& options, int64_t rows, int64_t dim) {
  if (!rope.depends_on_context()) return {};
  return {at::zeros({rows, 1, dim}, options), at::zeros({rows, 1, dim}, options)};
}

// At the rows' positions, or what was put into the buffer.
Rotation RotationAt(const AtenRope& rope, const Rotation& buffer, const at::Tensor& positions) {
  if (!rope.depends_on_context()) return rope.At(positions);
  return {buffer.cos.narrow(0, 0, positions.size(0)), buffer.sin.narrow(0, 0, positions.size(0))};
}

void PutRotation(const AtenRope& rope, const std::vector<Segment>& segments, const Rotation& buffer) {
  if (!rope.depends_on_context()) return;
  const Rotation rotation = rope.Of(segments);
  buffer.cos.narrow(0, 0, rotation.cos.size(0)).copy_(rotation.cos);
  buffer.sin.narrow(0, 0, rotation.sin.size(0)).copy_(rotation.sin);
}

}  // namespace

at::Tensor StepIndex(const StepBatch& batch, int64_t slot_positions) {
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size());
  int64_t outputs = 0;
  for (const Segment& segment : batch.segments) outputs += segment.outputs;
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
      cache_rows[row] = segment.slot * slot_positions + segment.past + i;
      if (i >= segment.length - segment.outputs) *wanted++ = row;
    }
  }
  return host;
}

AtenDecoding::AtenDecoding(const ModelConfig& config, const at::TensorOptions& options, const at::Tensor& cache, int slots,
                           int64_t slot_positions, bool flash, const AtenRope& rope, const AtenRope& sliding_rope,
                           std::unique_ptr<StepRecorder> recorder)
    : slots_(slots), slot_positions_(slot_positions), flash_(flash), recorded_(std::move(recorder)) {
  Memory memory{config, cache, rope, sliding_rope};
  memory.turns = RotationBuffer(rope, options, slots, config.head_dim);
  if (config.sliding_rope) memory.sliding_turns = RotationBuffer(sliding_rope, options, slots, config.head_dim);
  memory.index = at::zeros({3 * slots}, options.dtype(at::kLong));
  memory.attention = at::zeros({3 * (slots + 1)}, options.dtype(at::kInt));
  memory.logits = at::zeros({slots, config.vocab_size}, options.dtype(at::kFloat));
  memory_ = std::make_shared<const Memory>(std::move(memory));
}

bool AtenDecoding::Takes(const StepBatch& batch) {
  return batch.embeddings.empty() && !batch.segments.empty() &&
         std::all_of(batch.segments.begin(), batch.segments.end(),
                     [](const Segment& segment) { return segment.length == 1 && segment.outputs == 1; });
}

void AtenDecoding::Step(const Memory& memory, const AtenModel& model, bool flash, int64_t rows, int64_t keys) {
  const at::Tensor positions = memory.index.narrow(0, rows, rows);
  StepTensors step;
  step.ids = memory.index.narrow(0, 0, rows);
  step.cache_rows = memory.index.narrow(0, 2 * rows, rows);
  step.rotation = RotationAt(memory.rope, memory.turns, positions);
  if (memory.config.sliding_rope) step.sliding_rotation = RotationAt(memory.sliding_rope, memory.sliding_turns, positions);
  step.plan =
      TableAttentionPlan(memory.attention.narrow(0, 0, 3 * (rows + 1)).view({3, rows + 1}), flash, /*max_query=*/1, keys);
  at::Tensor x = EmbedTokens(memory.config, model, step.ids);
  RunPath(memory.config, model, step, memory.cache, x);
  memory.logits.narrow(0, 0, rows).copy_(LogitsOf(memory.config, model, x));
}

at::Tensor AtenDecoding::Logits(const std::shared_ptr<const AtenModel>& model, const std::vector<uint64_t>& identity,
                                const StepBatch& batch) {
  const int64_t count = static_cast<int64_t>(batch.segments.size());
  const int64_t rows = RowBucket(count, slots_);
  StepBatch padded{batch.tokens, batch.segments};
  padded.tokens.resize(rows, 0);
  padded.segments.resize(rows, {slots_, 0, 1, 1});
  int64_t keys = 1;
  for (const Segment& segment : batch.segments) keys = std::max<int64_t>(keys, segment.past + 1);
  keys = KeyBucket(keys, slot_positions_);

  memory_->index.narrow(0, 0, 3 * rows).copy_(StepIndex(padded, slot_positions_).narrow(0, 0, 3 * rows));
  memory_->attention.narrow(0, 0, 3 * (rows + 1)).copy_(AttentionTable(padded.segments, slot_positions_).view({-1}));
  PutRotation(memory_->rope, padded.segments, memory_->turns);
  if (memory_->config.sliding_rope) PutRotation(memory_->sliding_rope, padded.segments, memory_->sliding_turns);
  recorded_.Run({identity, rows, keys},
                [memory = memory_, model, flash = flash_, rows, keys] { Step(*memory, *model, flash, rows, keys); });
  return memory_->logits.narrow(0, 0, count);
}

}  // namespace merganser

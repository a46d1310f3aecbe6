// Steps of one new token per sequence, in a form that can be recorded: their inputs and their logits lie in fixed memory,
// and the rows are padded to one of a few sizes (RowBucket, KeyBucket). Padding rows are token 0 at position 0 of a row of
// the cache that no sequence has, and nobody looks at their logits.
//
// A step gives the same bits whether it is recorded or not, so that a result does not depend on what came before.
#ifndef MERGANSER_WORKER_ENGINE_ATEN_DECODING_H_
#define MERGANSER_WORKER_ENGINE_ATEN_DECODING_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>

#include "worker/engine/aten_model.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/recorded_steps.h"

namespace merganser {

// Token ids, positions, rows of the cache and wanted rows of a step, one after the other: int64 [3 * tokens + results] on
// the host.
at::Tensor StepIndex(const StepBatch& batch, int64_t slot_positions);

// Thread-compatible.
class AtenDecoding {
 public:
  // Of a cache with `slots` slots and, behind them, one row for padding. `rope` and `sliding_rope` (which only a config with
  // sliding_rope looks at) are kept. Throws what ATen throws.
  AtenDecoding(const ModelConfig& config, const at::TensorOptions& options, const at::Tensor& cache, int slots,
               int64_t slot_positions, bool flash, const AtenRope& rope, const AtenRope& sliding_rope,
               std::unique_ptr<StepRecorder> recorder);

  // Whether every segment is one token whose result is wanted, and no token is an embedding.
  static bool Takes(const StepBatch& batch);

  // The step's logits, fp32 [segments, vocab]: valid until the next call. `identity` is the model's. Throws what ATen
  // throws. REQUIRES: Takes(batch), no more segments than slots.
  at::Tensor Logits(const std::shared_ptr<const AtenModel>& model, const std::vector<uint64_t>& identity,
                    const StepBatch& batch);

 private:
  // What a step works on besides the weights; every recording has it.
  struct Memory {
    ModelConfig config;
    at::Tensor cache;
    AtenRope rope, sliding_rope;
    // cos and sin of rotations that depend on the length, of all rows; else undefined.
    Rotation turns, sliding_turns;
    at::Tensor index;      // int64: ids, positions, cache rows
    at::Tensor attention;  // int32: AttentionTable
    at::Tensor logits;     // fp32 [rows, vocab]
  };
  static void Step(const Memory& memory, const AtenModel& model, bool flash, int64_t rows, int64_t keys);

  const int slots_;
  const int64_t slot_positions_;
  const bool flash_;
  std::shared_ptr<const Memory> memory_;
  RecordedSteps recorded_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_DECODING_H_

// One forward pass of a decoder over sequences that live in slots of its key-value cache. The
// scheduler (decoder.h) knows what to run, a runner how.
#ifndef MERGANSER_WORKER_ENGINE_MODEL_RUNNER_H_
#define MERGANSER_WORKER_ENGINE_MODEL_RUNNER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/position_span.h"
#include "worker/engine/weight_source.h"

namespace merganser {

// Consecutive new tokens of one sequence.
struct Segment {
  int slot = 0;     // of the cache; at most one segment per slot in a step, but see `branch`
  int past = 0;     // positions of this slot that are already in the cache
  int length = 0;   // new tokens, >= 1
  int outputs = 0;  // results are wanted for the last `outputs` of them
  // Tokens of the sequence that these belong to, which decides about rotations that depend on the
  // length; 0: past + length. More than that for a piece of a prompt.
  int context = 0;
  // Which of StepBatch::branches the tokens are on: then `past` counts the positions before them in their sequence, and they
  // lie in the slot where the branch says. Segments of one slot stand side by side, each behind those that it sees. -1: on
  // none, and positions are rows. Only of a runner with branch_rows().
  int branch = -1;
};

// Where a candidate's weights are. Layers of a source that is constant are used again by the next
// candidate as they are.
struct ModelWeights {
  struct Stack {
    const WeightSource* source = nullptr;
    int num_layers = 0;  // 0: as many as the engine's config says
  };
  std::vector<Stack> stacks;   // of one family and with the config's sizes; at least one
  std::vector<LayerHop> path;  // empty: the layers of stacks[0] in order
  int embedding_stack = 0;     // which stack gives the embedding,
  int head_stack = 0;          // and which the final norm and the output matrix
};

// A token whose probability is asked for.
struct Target {
  int result = 0;  // which of the step's results
  int32_t token = 0;
};

struct StepBatch {
  std::vector<int32_t> tokens;    // of all segments, one after the other
  std::vector<Segment> segments;  // prompt pieces and single decoded tokens in any mix
  std::vector<Target> targets;    // by ascending result
  // For segments on branches: what their tokens see, themselves included, from position 0 on. Sequences of one slot that
  // begin alike share the spans of their beginning.
  std::vector<std::vector<PositionSpan>> branches;
  bool log_sums = false;  // RowResult::log_sum is wanted; implied by targets
  // Rows that stand for the embeddings of some of `tokens`: [hidden_size] each. Empty, or one per token, null where it is
  // the token's own. They are not multiplied by the family's factor, but by the path's.
  std::vector<const float*> embeddings;
};

struct RowResult {
  int32_t argmax = 0;  // smallest id among equals
  float max = 0;       // its logit
  double log_sum = 0;  // ln(sum(exp(logit))), if it was asked for
};

// Where a step's results go.
struct StepResults {
  absl::Span<RowResult> rows;    // one per wanted output, in order
  absl::Span<double> log_probs;  // one per target, natural logarithm
  float* logits = nullptr;       // if not null, takes [rows, vocab_size] fp32
};

// Thread-compatible.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Takes the weights of one candidate. Memory is allocated by the first call that needs it only.
  // InvalidArgument or NotFound: a tensor that is missing or has another shape; nothing may be run
  // then. REQUIRES: a path that is not empty nor longer than the runner was made for, with stacks
  // and layers in range.
  virtual absl::Status LoadWeights(const ModelWeights& weights) = 0;

  // Runs the new tokens, extends the slots, and fills `results`. InvalidArgument if a wanted logit
  // row is not finite. REQUIRES: slots, lengths and token ids in range, and room in `results`.
  virtual absl::Status Step(const StepBatch& batch, const StepResults& results) = 0;

  // Makes positions [begin, end) of slot `to` those of slot `from`. Positions of `to` from `end` on
  // are lost, and so may be those from `begin` rounded down to a multiple of 16 on, unless both
  // slots hold the same there.
  virtual absl::Status CopyPositions(int from, int to, int begin, int end) = 0;

  // Does the matrix products of a step with `rows` new tokens, `head_rows` of them with results, and
  // nothing else: what a step costs at the least on this machine. REQUIRES: weights are loaded.
  virtual absl::Status RunMatrices(int rows, int head_rows) = 0;

  // Rows of a slot that branches may lie in; 0: this runner takes no branches.
  virtual int64_t branch_rows() const { return 0; }
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_MODEL_RUNNER_H_

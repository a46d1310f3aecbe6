// One forward pass of a decoder over sequences that live in slots of its key-value cache. The
// scheduler (decoder.h) knows what to run, a runner how.
#ifndef MERGANSER_WORKER_ENGINE_MODEL_RUNNER_H_
#define MERGANSER_WORKER_ENGINE_MODEL_RUNNER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/weight_source.h"

namespace merganser {

// Consecutive new tokens of one sequence.
struct Segment {
  int slot = 0;     // of the cache; at most one segment per slot in a step
  int past = 0;     // positions of this slot that are already in the cache
  int length = 0;   // new tokens, >= 1
  int outputs = 0;  // results are wanted for the last `outputs` of them
};

struct StepBatch {
  std::vector<int32_t> tokens;    // of all segments, one after the other
  std::vector<Segment> segments;  // prompt pieces and single decoded tokens in any mix
  std::vector<int32_t>
      targets;  // empty, or one per wanted result: the token whose probability is asked for
};

struct RowResult {
  int32_t argmax = 0;   // smallest id among equals
  double log_prob = 0;  // of the target, natural logarithm; 0 without targets
};

// Thread-compatible.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Takes the weights of one candidate and the path through its layers. Memory is allocated by the
  // first call only. InvalidArgument or NotFound: a tensor that is missing or has another shape;
  // nothing may be run then. REQUIRES: path.size() within EngineOptions::max_path_length, layers
  // within the config.
  virtual absl::Status LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path) = 0;

  // Runs the new tokens, extends the slots, and fills `results` (one per wanted output, in order).
  // `logits`, if not null, takes [results, vocab_size] fp32. InvalidArgument if a wanted logit row
  // is not finite. REQUIRES: slots, lengths and token ids in range.
  virtual absl::Status Step(const StepBatch& batch, absl::Span<RowResult> results,
                            float* logits) = 0;

  // Makes the first `length` positions of slot `to` those of slot `from`.
  virtual absl::Status CopyPrefix(int from, int to, int length) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_MODEL_RUNNER_H_

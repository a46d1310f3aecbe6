// The tokens that all prompts of a call begin with: few-shot examples, a system text.
#ifndef MERGANSER_WORKER_ENGINE_SHARED_PREFIX_H_
#define MERGANSER_WORKER_ENGINE_SHARED_PREFIX_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/generator.h"
#include "worker/engine/model_runner.h"

namespace merganser {

// Computes the common prefix of `prompts` into slot options.max_sequences, once for all, and
// returns its length. 0, and nothing is computed, for fewer than two prompts and for a prefix too
// short to pay. It never covers a whole prompt: each has at least its last token left, nor more than
// `length_max` tokens. Errors of ModelRunner::Step.
absl::StatusOr<int> PrefillSharedPrefix(ModelRunner& runner, const EngineOptions& options,
                                        absl::Span<const std::vector<int32_t>* const> prompts, int length_max,
                                        GenerationTimings& timings);

// Adds the time of one step to `timings`, divided by kind of token.
void AddStepTime(double seconds, int64_t prompt_tokens, int64_t generated_tokens, GenerationTimings& timings);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SHARED_PREFIX_H_

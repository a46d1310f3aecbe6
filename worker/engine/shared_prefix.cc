#include "worker/engine/shared_prefix.h"

#include <algorithm>

#include "common/base/status_macros.h"

namespace merganser {
namespace {

// A shorter common prefix is not worth a step of its own and a copy per sequence.
constexpr int kSharedPrefixMin = 32;

int CommonPrefix(absl::Span<const std::vector<int32_t>* const> prompts) {
  const std::vector<int32_t>& first = *prompts[0];
  size_t common = first.size();
  for (const std::vector<int32_t>* prompt : prompts) {
    common = std::min(common, prompt->size() - 1);
    common = std::mismatch(first.begin(), first.begin() + common, prompt->begin()).first - first.begin();
  }
  return static_cast<int>(common);
}

}  // namespace

void AddStepTime(double seconds, int64_t prompt_tokens, int64_t generated_tokens, GenerationTimings& timings) {
  const double share = static_cast<double>(prompt_tokens) / static_cast<double>(prompt_tokens + generated_tokens);
  timings.prefill_seconds += seconds * share;
  timings.decode_seconds += seconds * (1.0 - share);
  timings.prompt_tokens += prompt_tokens;
}

absl::StatusOr<int> PrefillSharedPrefix(ModelRunner& runner, const EngineOptions& options,
                                        absl::Span<const std::vector<int32_t>* const> prompts, int length_max,
                                        GenerationTimings& timings) {
  if (prompts.size() < 2) return 0;
  const int length = std::min(length_max, CommonPrefix(prompts));
  if (length < kSharedPrefixMin) return 0;
  const absl::Duration start = options.clock->Monotonic();
  StepBatch batch;
  for (int done = 0; done < length;) {
    const int piece = std::min(length - done, options.max_batch_tokens);
    const int32_t* tokens = prompts[0]->data() + done;
    batch.tokens.assign(tokens, tokens + piece);
    batch.segments = {{options.max_sequences, done, piece, 0}};
    MG_RETURN_IF_ERROR(runner.Step(batch, {}));
    done += piece;
  }
  AddStepTime(absl::ToDoubleSeconds(options.clock->Monotonic() - start), length, 0, timings);
  return length;
}

}  // namespace merganser

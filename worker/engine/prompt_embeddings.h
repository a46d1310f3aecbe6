// Rows that stand in a prompt for tokens' embeddings: checked, and laid into a step.
#ifndef MERGANSER_WORKER_ENGINE_PROMPT_EMBEDDINGS_H_
#define MERGANSER_WORKER_ENGINE_PROMPT_EMBEDDINGS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/engine/generator.h"
#include "worker/engine/model_runner.h"

namespace merganser {

// InvalidArgument, beginning with `what`, unless they lie in a prompt of `tokens` tokens, in order and not overlapping.
absl::Status CheckPromptEmbeddings(absl::Span<const PromptEmbeddings> embeddings, int64_t tokens, const std::string& what);

// For the last `count` tokens of `batch`, which are a prompt's from `begin` on. Leaves batch.embeddings as it is where none
// of them has a row; else it ends with the last of those that do.
void AddPromptEmbeddings(absl::Span<const PromptEmbeddings> embeddings, int begin, int count, int64_t hidden_size,
                         StepBatch& batch);

// For a cache that is used again: equal tokens are not equal positions where an image stands. The beginning of a prompt that
// may be compared with what a slot holds, of which all but the last token may be used; and what a step leaves behind in its
// slots.
absl::Span<const int32_t> ReusablePrompt(const GenerationRequest& request);
void ForgetEmbeddedTokens(StepBatch& batch);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_PROMPT_EMBEDDINGS_H_

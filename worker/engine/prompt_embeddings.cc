#include "worker/engine/prompt_embeddings.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace merganser {

absl::Status CheckPromptEmbeddings(absl::Span<const PromptEmbeddings> embeddings, int64_t tokens, const std::string& what) {
  int64_t end = 0;
  for (const PromptEmbeddings& e : embeddings) {
    if (e.values != nullptr && e.rows >= 1 && e.position >= end && int64_t{e.position} + e.rows <= tokens) {
      end = int64_t{e.position} + e.rows;
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(what, " has ", e.rows, " embeddings at position ", e.position, " of ",
                                                   tokens, " tokens; they must lie in it in order"));
  }
  return absl::OkStatus();
}

void AddPromptEmbeddings(absl::Span<const PromptEmbeddings> embeddings, int begin, int count, int64_t hidden_size,
                         StepBatch& batch) {
  const size_t first = batch.tokens.size() - count;
  for (const PromptEmbeddings& e : embeddings) {
    for (int p = std::max(begin, e.position); p < std::min(begin + count, e.position + e.rows); ++p) {
      batch.embeddings.resize(batch.tokens.size(), nullptr);
      batch.embeddings[first + p - begin] = e.values + static_cast<int64_t>(p - e.position) * hidden_size;
    }
  }
}

absl::Span<const int32_t> ReusablePrompt(const GenerationRequest& request) {
  const absl::Span<const int32_t> prompt = request.prompt;
  return request.embeddings.empty() ? prompt : prompt.first(request.embeddings.front().position + 1);
}

void ForgetEmbeddedTokens(StepBatch& batch) {
  for (size_t i = 0; i < batch.embeddings.size(); ++i) {
    if (batch.embeddings[i] != nullptr) batch.tokens[i] = -1;  // which no prompt has
  }
}

}  // namespace merganser

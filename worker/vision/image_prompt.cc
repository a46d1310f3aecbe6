#include "worker/vision/image_prompt.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace merganser {

absl::StatusOr<ImagePrompt> ExpandImageTokens(absl::Span<const int32_t> tokens, int32_t image_token,
                                              absl::Span<const int> rows) {
  const size_t found = std::count(tokens.begin(), tokens.end(), image_token);
  if (found != rows.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt has ", found, " image tokens (<image>, id ", image_token,
                                                   ") for ", rows.size(), rows.size() == 1 ? " image" : " images"));
  }
  ImagePrompt prompt;
  for (const int32_t token : tokens) {
    if (token == image_token) {
      const size_t image = prompt.positions.size();
      prompt.positions.push_back(static_cast<int>(prompt.tokens.size()));
      prompt.tokens.insert(prompt.tokens.end(), rows[image], token);
    } else {
      prompt.tokens.push_back(token);
    }
  }
  return prompt;
}

}  // namespace merganser

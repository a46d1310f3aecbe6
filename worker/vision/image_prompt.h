// Where a prompt's image tokens are, and the prompt with one token per row of features.
#ifndef MERGANSER_WORKER_VISION_IMAGE_PROMPT_H_
#define MERGANSER_WORKER_VISION_IMAGE_PROMPT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace merganser {

struct ImagePrompt {
  std::vector<int32_t> tokens;
  std::vector<int> positions;  // of the first row of each image in `tokens`
};

// Repeats the i-th `image_token` of `tokens` rows[i] times. InvalidArgument if there are not as many image tokens as images
// (says how many of each).
absl::StatusOr<ImagePrompt> ExpandImageTokens(absl::Span<const int32_t> tokens, int32_t image_token,
                                              absl::Span<const int> rows);

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_IMAGE_PROMPT_H_

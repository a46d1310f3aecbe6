// What the model under test makes of texts, for prompts and metrics that depend on it.
#ifndef MERGANSER_WORKER_BENCHMARK_MODEL_TEXT_H_
#define MERGANSER_WORKER_BENCHMARK_MODEL_TEXT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace merganser {

// Thread-safe.
struct ModelText {
  std::function<absl::StatusOr<std::vector<int32_t>>(absl::string_view)> encode;  // without special tokens around it
  std::function<absl::StatusOr<std::string>(absl::Span<const int32_t>)> decode;   // special tokens left out
  int64_t max_context = 0;                                                        // positions of one sequence
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_MODEL_TEXT_H_

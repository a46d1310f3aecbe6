// The architectures whose tensors are known by name, as data.
#ifndef MERGANSER_WORKER_CHECKPOINT_ARCHITECTURES_H_
#define MERGANSER_WORKER_CHECKPOINT_ARCHITECTURES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace merganser {

// Tensors of one form of name. In `name`, "#" stands for a layer's number and "*" for any characters
// ("vision_tower.*"; "experts.*.w1").
struct TensorPattern {
  absl::string_view name;
  bool optional = false;  // may be absent: biases, heads that are tied
};

struct Architecture {
  std::vector<absl::string_view> names;  // as in config.json's "architectures"
  absl::string_view layer_prefix;        // "model.layers."
  absl::string_view embedding;           // the matrix with a row for each token
  absl::string_view head;                // the matrix that a tied checkpoint lacks
  std::vector<TensorPattern> tensors;
  // The last operations before each residual sum of a layer, without prefix and number: what a scale
  // of the layer's MLP output is folded into. Empty: not known.
  std::vector<absl::string_view> mlp_output;
};

// Llama, Mistral, Qwen2, Qwen3, Gemma 1 to 3, Mixtral, Phi-3, LLaVA, LLaVA-NeXT and GPT-NeoX.
const std::vector<Architecture>& KnownArchitectures();

// The architecture that config.json calls `name`, or nullptr.
const Architecture* FindArchitecture(absl::string_view name);

// OK if the checkpoint in `dir` holds every tensor that `architecture` asks of its `layers` layers
// (counted in the names); else InvalidArgument naming the first that is missing and `called`, what the
// checkpoint calls its architecture. `names` are the checkpoint's tensors, in any order.
absl::Status CheckTensors(const Architecture& architecture, absl::string_view called, absl::Span<const std::string> names,
                          const std::string& dir);

// Those of `names` that `architecture` does not know.
std::vector<std::string> UnknownTensors(const Architecture& architecture, absl::Span<const std::string> names);

// True if `name` has the form of `pattern`.
bool MatchesPattern(absl::string_view name, absl::string_view pattern);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_ARCHITECTURES_H_

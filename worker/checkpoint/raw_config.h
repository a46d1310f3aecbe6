// A config.json of any architecture, as far as merging and exporting ask.
#ifndef MERGANSER_WORKER_CHECKPOINT_RAW_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_RAW_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace merganser {

struct RawConfig {
  std::string path;
  std::string json;                         // the file's text
  std::string architecture;                 // the first of "architectures"; "" if there is none
  std::string model_type;                   // "" if there is none
  std::optional<bool> tie_word_embeddings;  // as written
  int64_t num_layers = 0;                   // 0: not given under a known name
  std::string layers_key;                   // where: "num_hidden_layers", "text_config.num_hidden_layers"
  int64_t vocab_size = 0;                   // 0: not given
  std::string vocab_key;
  // What decides the forward pass beyond the tensors, field by field, as text: RoPE, window, norms,
  // activation, heads. Defaults are filled in for the families that ModelConfig knows.
  std::vector<std::pair<std::string, std::string>> forward_pass;

  // Reads DIR/config.json. NotFound without it; InvalidArgument if it is no JSON object (names line and
  // column); Unimplemented for a quantized checkpoint (names the method).
  static absl::StatusOr<RawConfig> Read(const std::string& dir);
};

// A JSON object to be merged over `config` (RFC 7386) for a model of other layers: layer i of the result
// is layer layers[i] of it. Sets the number of layers and writes out what depends on a layer's index
// (`layer_types`; where the config gives it by a rule only, the rule's result). Throws nothing.
std::string PathConfigPatch(const RawConfig& config, absl::Span<const int> layers);

// The same for the published form of a data-flow model (EvoMistralForCausalLM): `distinct_layers` stored
// layers, visited in `hops` steps.
std::string EvoMistralConfigPatch(const RawConfig& config, int distinct_layers, int hops);

// True if `config` holds a language model's settings as a part (`text_config`).
bool HasTextConfig(const RawConfig& config);

// The same, for the settings of the forward pass (RoPE and the positions that it is made for, window, norm epsilon,
// activation, soft caps) of `from` (of its part, if it has one) in `config`, a model with a part (HasTextConfig) of the
// same kind. Afterwards ModelConfig reads from `config` what it reads from `from`. InvalidArgument, naming both files:
// `config` has no part, or the two are of different kinds (model_type).
absl::StatusOr<std::string> ForwardPassConfigPatch(const RawConfig& config, const RawConfig& from);

// `config`'s text with `patch` merged over it.
std::string PatchedConfig(const RawConfig& config, const std::string& patch);

// {"tie_word_embeddings": tied} and {"vocab_size": rows} where `config` keeps them.
std::string TieConfigPatch(const RawConfig& config, bool tied);
std::string VocabularyConfigPatch(const RawConfig& config, int64_t rows);

// Two patches as one; the second one wins. "" is no patch.
std::string JoinPatches(const std::string& first, const std::string& second);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_RAW_CONFIG_H_

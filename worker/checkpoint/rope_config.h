// Rotary position embedding settings of config.json.
#ifndef MERGANSER_WORKER_CHECKPOINT_ROPE_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_ROPE_CONFIG_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

class JsonObject;

enum class RopeType { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongrope };

// "default", "linear", "dynamic", "llama3", "yarn", "longrope".
absl::string_view RopeTypeName(RopeType type);

// How the rotation frequencies are changed for contexts longer than the trained one. Fields that a
// type does not use keep their defaults.
struct RopeScaling {
  RopeType type = RopeType::kDefault;
  // > 0; all types but kDefault. kLongrope: max_position_embeddings over the context before
  // scaling, where config.json does not say.
  double factor = 1.0;
  // kLlama3, kDynamic, kYarn, kLongrope: the context before scaling, in tokens. Never 0 for
  // kLlama3; for the others max_position_embeddings where config.json does not say.
  int64_t original_max_position_embeddings = 0;
  double low_freq_factor = 1.0;   // kLlama3
  double high_freq_factor = 4.0;  // kLlama3; > low_freq_factor
  double beta_fast = 32.0;        // kYarn
  double beta_slow = 1.0;         // kYarn
  // kYarn, kLongrope: multiplies cos and sin. Absent: kYarn from mscale, or 0.1 ln(factor) + 1;
  // kLongrope sqrt(1 + ln(factor) / ln(original_max_position_embeddings)).
  std::optional<double> attention_factor;
  std::optional<double> mscale;          // kYarn
  std::optional<double> mscale_all_dim;  // kYarn
  bool truncate = true;                  // kYarn: whether the correction range is rounded to whole dimensions
  // kLongrope, head_dim / 2 each: divide the frequencies, up to the context before scaling and
  // beyond it.
  std::vector<double> short_factor, long_factor;
  bool operator==(const RopeScaling&) const = default;
};

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling;
  bool operator==(const RopeConfig&) const = default;
};

// What a family's parser tells about the config that holds the settings.
struct RopeContext {
  int64_t max_position_embeddings = 0;
  int64_t head_dim = 0;
  double default_theta = 10000.0;
};

// Reads `rope_theta` and `rope_scaling` (classic layout) or `rope_parameters` (transformers 5) of a
// config.json. InvalidArgument naming file, field, value and bound; Unimplemented for a scaling
// type that is not listed above, for settings per layer type, and for a partial rotation.
absl::StatusOr<RopeConfig> ParseRopeConfig(const JsonObject& config, const RopeContext& context);

// Settings per layer type, as Gemma 3 has them.
struct LayeredRopeConfig {
  RopeConfig full;     // layers that see everything before them
  RopeConfig sliding;  // layers with a window
};

// Reads `rope_theta`, `rope_scaling` and `rope_local_base_freq` (classic layout; the scaling is that
// of the full layers) or `rope_parameters` with `full_attention` and `sliding_attention`. Errors as
// above.
absl::StatusOr<LayeredRopeConfig> ParseLayeredRopeConfig(const JsonObject& config, const RopeContext& context);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_ROPE_CONFIG_H_

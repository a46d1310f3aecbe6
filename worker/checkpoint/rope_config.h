// Rotary position embedding settings of config.json.
#ifndef MERGANSER_WORKER_CHECKPOINT_ROPE_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_ROPE_CONFIG_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

class JsonObject;

enum class RopeType { kDefault, kLinear, kDynamic, kLlama3, kYarn };

// "default", "linear", "dynamic", "llama3", "yarn".
absl::string_view RopeTypeName(RopeType type);

// How the rotation frequencies are changed for contexts longer than the trained one. Fields that a
// type does not use keep their defaults.
struct RopeScaling {
  RopeType type = RopeType::kDefault;
  double factor = 1.0;  // > 0; all types but kDefault
  // kLlama3, kDynamic, kYarn: the context before scaling, in tokens. Never 0 for kLlama3; for the
  // other two max_position_embeddings where config.json does not say.
  int64_t original_max_position_embeddings = 0;
  double low_freq_factor = 1.0;            // kLlama3
  double high_freq_factor = 4.0;           // kLlama3; > low_freq_factor
  double beta_fast = 32.0;                 // kYarn
  double beta_slow = 1.0;                  // kYarn
  std::optional<double> attention_factor;  // kYarn: multiplies cos and sin; absent: from mscale, or
                                           // 0.1 ln(factor) + 1
  std::optional<double> mscale;            // kYarn
  std::optional<double> mscale_all_dim;    // kYarn
  bool truncate = true;  // kYarn: whether the correction range is rounded to whole dimensions
  bool operator==(const RopeScaling&) const = default;
};

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling;
};

// Reads `rope_theta` and `rope_scaling` (classic layout) or `rope_parameters` (transformers 5) of a
// config.json. InvalidArgument naming file, field, value and bound; Unimplemented for a scaling
// type that is not listed above, for settings per layer type, and for a partial rotation.
absl::StatusOr<RopeConfig> ParseRopeConfig(const JsonObject& config,
                                           int64_t max_position_embeddings);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_ROPE_CONFIG_H_

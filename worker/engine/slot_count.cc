#include "worker/engine/slot_count.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "worker/engine/weight_layout.h"

namespace merganser {

CacheBound DeviceCacheBound(const ModelConfig& config, int64_t free_bytes, int64_t element_bytes, int64_t batch_tokens) {
  int64_t weights = 0;
  for (const TensorSpec& spec : WeightLayout(config)) {
    weights += std::accumulate(spec.shape.begin(), spec.shape.end(), element_bytes, std::multiplies<>());
  }
  // Where every token's result is wanted: logits in the engine's type and in fp32, and one temporary; else the widest of the
  // layer's, of which three are there at once.
  const int64_t logits = config.vocab_size * (element_bytes + 8);
  const int64_t widths = 4 * config.hidden_size + 3 * 2 * config.intermediate_size +
                         2 * (config.num_heads + 2 * config.num_kv_heads) * config.head_dim;
  const int64_t step = batch_tokens * (logits + widths * element_bytes);
  return {std::max<int64_t>(0, free_bytes - free_bytes / 10 - weights - step),
          absl::StrCat("the device has ", free_bytes, " bytes free, a candidate's weights take ", weights, ", a step ", step,
                       ", and a tenth stays free")};
}

absl::StatusOr<int> SequencesThatFit(int wanted, int64_t slot_bytes, int64_t positions, const CacheBound& bound) {
  const int64_t slots = bound.bytes / slot_bytes;
  if (slots < 2) {
    return absl::ResourceExhaustedError(absl::StrCat("a key-value cache of ", bound.bytes, " bytes (", bound.origin,
                                                     ") is too small: two slots of ", positions, " positions need ",
                                                     2 * slot_bytes, " bytes"));
  }
  return static_cast<int>(std::min<int64_t>(wanted, slots - 1));
}

}  // namespace merganser

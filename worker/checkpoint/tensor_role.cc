#include "worker/checkpoint/tensor_role.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace merganser {

TensorRole RoleOf(absl::string_view tensor_name) {
  constexpr size_t kLayerDigitsMax = 6;
  if (absl::StartsWith(tensor_name, "lm_head.")) return {ModelPart::kHead, -1};
  if (!absl::ConsumePrefix(&tensor_name, "model.")) return {};
  if (absl::StartsWith(tensor_name, "embed_tokens.")) return {ModelPart::kEmbedding, -1};
  if (absl::StartsWith(tensor_name, "norm.")) return {ModelPart::kNorm, -1};
  if (!absl::ConsumePrefix(&tensor_name, "layers.")) return {};
  const absl::string_view digits = tensor_name.substr(0, tensor_name.find('.'));
  int layer = -1;
  if (digits.empty() || digits.size() > kLayerDigitsMax || digits.size() == tensor_name.size() ||
      !std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      (digits[0] == '0' && digits.size() > 1) || !absl::SimpleAtoi(digits, &layer)) {
    return {};
  }
  return {ModelPart::kLayers, layer};
}

}  // namespace merganser

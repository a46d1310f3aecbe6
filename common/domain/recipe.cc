#include "common/domain/recipe.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace merganser {

bool Belongs(const TensorGroup& group, ModelPart part, int layer, absl::string_view tensor_name) {
  if (!group.parts.empty() && std::find(group.parts.begin(), group.parts.end(), part) == group.parts.end()) return false;
  if (part == ModelPart::kLayers) {
    if (layer < group.first_layer) return false;
    if (group.end_layer >= 0 && layer >= group.end_layer) return false;
  }
  return group.filter.empty() || absl::StrContains(tensor_name, group.filter);
}

absl::string_view ModelPartName(ModelPart part) {
  switch (part) {
    case ModelPart::kEmbedding:
      return "embedding";
    case ModelPart::kLayers:
      return "layers";
    case ModelPart::kNorm:
      return "norm";
    case ModelPart::kHead:
      return "head";
  }
  return "unknown";
}

}  // namespace merganser

#include "common/domain/model_paths.h"

#include <algorithm>

namespace merganser {

Recipe WithPathsOf(const std::vector<ModelRef>& models, Recipe recipe) {
  for (ModelRef& model : recipe.models) {
    const auto found =
        std::find_if(models.begin(), models.end(), [&](const ModelRef& other) { return other.name == model.name; });
    if (found != models.end()) model.path = found->path;
  }
  return recipe;
}

}  // namespace merganser

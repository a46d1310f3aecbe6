// What all recipes of a job have in common.
#ifndef MERGANSER_COORDINATOR_SEARCH_SPACE_RECIPE_FRAME_H_
#define MERGANSER_COORDINATOR_SEARCH_SPACE_RECIPE_FRAME_H_

#include <algorithm>
#include <vector>

#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

// True if some models of the job are parts of another (ModelRef::rename): language models within one that sees.
inline bool HasParts(const JobSpec& spec) {
  return std::any_of(spec.models.begin(), spec.models.end(), [](const ModelRef& model) { return !model.rename.empty(); });
}

// A recipe without stacks: models, tokenizer, type, masks. Where some models are parts of another, rows of the vocabulary
// are the whole model's and so is config.json, but for the forward pass if JobSpec::config_from names a part.
inline Recipe RecipeFrame(const JobSpec& spec) {
  Recipe recipe;
  recipe.models = spec.models;
  recipe.tokenizer_from = TokenizerModel(spec);
  if (HasParts(spec)) {
    recipe.vocabulary_from = recipe.tokenizer_from;
    recipe.config_from = spec.config_from.empty() ? recipe.tokenizer_from : spec.config_from;
  }
  recipe.dtype = spec.dtype;
  recipe.mask_seed = MaskSeed(spec.seed);
  return recipe;
}

// The recipe's hops; those of a plain stack are its layers in order.
inline std::vector<Hop> Hops(const Recipe& recipe, int num_layers) {
  if (!recipe.path.empty()) return recipe.path;
  std::vector<Hop> hops;
  for (int layer = 0; layer < num_layers; ++layer) hops.push_back({0, layer, 1.0});
  return hops;
}

// True if the path is the first stack's layers in order, unscaled.
inline bool IsStack(const Recipe& recipe, int num_layers) {
  if (static_cast<int>(recipe.path.size()) != num_layers) return false;
  for (int i = 0; i < num_layers; ++i) {
    if (!(recipe.path[i] == Hop{0, i, 1.0})) return false;
  }
  return true;
}

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_SEARCH_SPACE_RECIPE_FRAME_H_

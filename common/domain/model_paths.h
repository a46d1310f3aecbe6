// The same models at other places: a worker has a job's checkpoints under paths of its own.
#ifndef MERGANSER_COMMON_DOMAIN_MODEL_PATHS_H_
#define MERGANSER_COMMON_DOMAIN_MODEL_PATHS_H_

#include <vector>

#include "common/domain/recipe.h"

namespace merganser {

// `recipe` with the path of each model that `models` has, by name; all else stays.
Recipe WithPathsOf(const std::vector<ModelRef>& models, Recipe recipe);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_MODEL_PATHS_H_

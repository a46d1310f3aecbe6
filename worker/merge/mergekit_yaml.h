// Recipes in mergekit's own YAML, for users who want to repeat a merge with it.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_YAML_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_YAML_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/domain/recipe.h"

namespace merganser {

struct MergekitYaml {
  std::optional<std::string> yaml;  // absent: mergekit cannot say this recipe ...
  std::string reason;               // ... because of this
};

// What the recipe's models are, as far as it decides whether mergekit can say the recipe; see RecipeModels.
struct MergekitFacts {
  std::vector<std::string> mlp_output;  // patterns of the tensors that a hop's scale is folded into; none: not known
  bool norm_plus_one = false;           // those are norms that apply 1 + weight
  bool reheaded = false;                // heads are tied or untied by the merge
};

// The recipe as a mergekit (>= 0.1.4) configuration: recipe.stacks[0] as whole models, with parameters by `filter` where
// groups differ; or slices (mergekit_slices.h), where there is a path or embedding and head of other stacks. A filter of
// whole models is a whole layer ("model.layers.3."), a part ("model.embed_tokens.") or a tensor's name, never the group's
// own substring, because mergekit takes the first match and knows no layer bounds. `dtype: float32` with `out_dtype` makes
// mergekit compute as we do; DARE's random masks are mergekit's own (a comment in the YAML says so), so those weights are
// alike in distribution only. `tensor_names`: the tensors of the recipe as an ordinary checkpoint.
// InvalidArgument: a recipe that MergePlan would refuse by its method, parameters or groups.
absl::StatusOr<MergekitYaml> WriteMergekitYaml(const Recipe& recipe, const std::vector<std::string>& tensor_names,
                                               const MergekitFacts& facts = {});

// The value that mergekit's list of (filter, value) gives a tensor: the first filter that is "*" or
// a substring of the name; nullptr without one.
struct FilteredValue {
  std::string filter;
  double value;
  bool operator==(const FilteredValue&) const = default;
};
const FilteredValue* FirstMatch(const std::vector<FilteredValue>& values, absl::string_view tensor_name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_YAML_H_

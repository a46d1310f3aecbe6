// A recipe's path as mergekit's slices: which runs of layers, of which models, with which parameters.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_SLICES_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_SLICES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/merge_method_spec.h"
#include "common/domain/recipe.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/mergekit_yaml.h"

namespace merganser {

struct SliceParameter {
  const MethodParameter* parameter;
  std::vector<FilteredValue> values;  // never empty; one "*": the same for all tensors
};

// Layers [first_layer, first_layer + layers) of recipe.stacks[stack]; none: what stands outside of layers alone.
struct RecipeSlice {
  int stack = 0;
  int first_layer = 0;
  int layers = 0;
  std::vector<std::vector<SliceParameter>> sources;  // in the order of Stack::sources
  std::vector<SliceParameter> shared;
};

struct RecipeSlices {
  std::string reason;        // not empty: mergekit cannot say the path, because of this
  const MethodSpec* method;  // of all slices
  std::vector<RecipeSlice> slices;
};

// The stack's method. InvalidArgument: there is none of that name, or it refuses a group's parameters.
absl::StatusOr<const MergeMethod*> CheckedMethod(const Stack& stack);

// The slices of `recipe`: of its path, or of all layers of stacks[0]. mergekit takes the embedding from the first slice,
// norm and head from the last one; a slice of no layers stands there where the recipe takes them from another stack. Copies
// are slices of passthrough, or of linear beside merges of linear. A hop's scale is passthrough's `scale` of the tensors
// that an export folds it into, so that mergekit computes the same products. REQUIRES: the recipe has a stack, and hops name
// stacks that it has. InvalidArgument: an unknown method or stack, parameters that the method refuses, a tensor of no group.
absl::StatusOr<RecipeSlices> SliceRecipe(const Recipe& recipe, const std::vector<std::string>& tensor_names,
                                         const MergekitFacts& facts);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_SLICES_H_

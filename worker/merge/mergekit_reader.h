// mergekit YAML to a recipe.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_READER_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_READER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/domain/recipe.h"

namespace merganser {

// What the headers of a model's files say, as far as gradients and filters depend on it.
struct ModelFacts {
  std::vector<std::string> tensor_names;
  std::string dtype;  // storage type of the tensors ("bfloat16"), "" if they have several
};

using ModelFactsReader = std::function<absl::StatusOr<ModelFacts>(const ModelRef& model)>;

// The recipe that the mergekit configuration in `text` describes: what mergekit computes for it, tensor by tensor, with
// mergekit's order of scopes (source, slice, module, configuration), filters and gradients written out as groups of tensors.
// Models get the last part of their path as names. `dtype` gives the type of the result where
// `out_dtype` does not; with neither it is the base's (else the first model's) own type. Merges get `arithmetic`.
//
// `file` is named in messages; `facts` is asked once for each model. The errors are those of ParseMergekitConfig and of
// `facts` (with the model's line), and InvalidArgument "FILE:LINE: what" for: a parameter that mergekit wants and no scope
// gives (names parameter, model and tensor), a base_model that is missing, of no use to the method, or has parameters, a
// number of models that the method does not merge, a layer_range beyond a model's layers, models with different numbers of
// layers under `models`, a tokenizer's or token's model that is not merged, a filter of no tensor, a model of no use;
// Unimplemented for Arithmetic::kMergekit where mergekit would compute in another type than the result's.
absl::StatusOr<Recipe> ReadMergekitYaml(absl::string_view text, const std::string& file, const ModelFactsReader& facts,
                                        Arithmetic arithmetic = Arithmetic::kFp32);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_READER_H_

// The models of a recipe, found and made to fit each other: one head, one vocabulary, one forward pass.
#ifndef MERGANSER_WORKER_MERGE_RECIPE_MODELS_H_
#define MERGANSER_WORKER_MERGE_RECIPE_MODELS_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/raw_config.h"
#include "worker/checkpoint/weight_files.h"
#include "worker/merge/mergekit_reader.h"
#include "worker/merge/recipe_plan.h"

namespace merganser {

// From what a user wrote to a directory: ResolveModel with its options.
using ModelResolver = std::function<absl::StatusOr<std::string>(const std::string& path)>;

// One model, opened: headers and configs only.
struct OpenedModel {
  std::string dir;
  std::string lora_dir;  // "" without an adapter
  std::shared_ptr<const WeightFiles> files;
  RawConfig config;
};

// What a recipe needs of its models, ready for RecipePlan::Build, and what its export writes beside the
// weights.
struct RecipeModels {
  std::map<std::string, OpenedModel> opened;
  SourceMap sources;  // of `opened`, adapted: adapters merged, heads and rows alike
  std::string donor;  // name of the model that gives tokenizer and chat template
  std::string config_donor;
  std::string config_patch;                       // over the config donor's config.json; "" for none
  std::map<std::string, std::string> text_files;  // tokenizer.json and such, where they are not the donor's own
  std::set<std::string> dropped_files;            // of the donor's that would contradict them
  std::vector<std::string> mlp_output;            // for RecipePlan::Build
  bool norm_plus_one = false;
  bool reheaded = false;           // heads of some models are dropped, or made of their embeddings
  std::vector<std::string> notes;  // what a user should know: "vocabulary: 32064 rows, from 'b'"
};

// Opens the recipe's models and adapts them as it says; of a model that sees and is renamed, a vision tower or projector
// that no rule names is left out, so that it is a language model to be merged into another one that sees. Reads headers,
// configs and tokenizers, no weights. Errors start with the field of the recipe ("models.ja.path: ..."). Beyond those of
// `resolver`, WeightFiles::Open, RawConfig::Read, LoraSource and MergedVocabulary::Create:
// InvalidArgument if models tie their heads differently and recipe.head is "", have other numbers of
// rows and neither vocabulary_from nor a tokenizer says what to do, or differ in their forward pass
// without config_from; each message says what to write. InvalidArgument too for a tensor that the
// architecture needs and a checkpoint lacks. `threads`: of an adapter's merge, when its tensors are loaded.
absl::StatusOr<RecipeModels> OpenRecipeModels(const Recipe& recipe, const ModelResolver& resolver, int threads = 1);

// What mergekit YAML needs to know of a model, by the same rules.
absl::StatusOr<ModelFacts> ReadModelFacts(const ModelRef& model, const ModelResolver& resolver);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_RECIPE_MODELS_H_

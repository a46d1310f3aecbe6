// The checkpoints that a job or a recipe names: found, opened and known to fit together.
#ifndef MERGANSER_WORKER_EVALUATE_SOURCE_MODELS_H_
#define MERGANSER_WORKER_EVALUATE_SOURCE_MODELS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/merge/arena.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/recipe_models.h"
#include "worker/text/tokenizer.h"

namespace merganser {

using CheckpointMap = std::map<std::string, std::shared_ptr<const Checkpoint>>;  // by model name; shared with the merge

// Where this process looks for models: within `model_roots` if there are any, and in the environment's Hugging Face cache,
// into which Hub ids are downloaded (HF_ENDPOINT, HF_TOKEN; not with HF_HUB_OFFLINE=1).
ModelLocatorOptions LocatorOptions(const std::vector<std::string>& model_roots);

// Finds (Hub ids in the local Hugging Face cache) and opens every model. Errors start with "models.NAME.path: ": those of
// ResolveModel and Checkpoint::Open; `model_roots` as there. Unimplemented: a model with an adapter.
absl::StatusOr<CheckpointMap> OpenModels(const std::vector<ModelRef>& models, const std::vector<std::string>& model_roots);

// The tokenizer of the checkpoint that the caller calls `model`, for an engine of `vocab_size` rows. Errors of
// Tokenizer::Load; InvalidArgument "models.MODEL.path: ...": it has more tokens than that.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model, const Checkpoint& checkpoint,
                                                         int64_t vocab_size);

// The config of a job's candidates: that of the tokenizer's model. Where models are parts of another one (ModelRef::rename,
// language models within one that sees), it is the whole one's, with the settings of the forward pass of
// JobSpec::config_from. InvalidArgument, naming both models, the field and both values: the models run differently (RoPE,
// window, norm epsilon, activation, tied head) and config_from does not say whose settings to take; their language models
// are of different families; or one without `rename` sees and another does not.
absl::StatusOr<ModelConfig> MergedConfig(const JobSpec& spec, const CheckpointMap& models);

// Where the merge of these models lies in memory, in the order that the engine likes, as `dtype` ("bfloat16", ...). The
// tensors have the names that they have in `donor`: within a model that sees, "language_model.model.norm.weight".
absl::StatusOr<ArenaLayout> MergedLayout(const ModelConfig& config, const Checkpoint& donor, const std::string& dtype);

// The job's models as its recipes have them: each plain one under the names that its `rename` gives it, with the rows of the
// whole, by the rules of an export. Errors of OpenRecipeModels.
absl::StatusOr<RecipeModels> OpenJobModels(const JobSpec& spec, const std::vector<std::string>& model_roots);

// True if the model is renamed: a part of the whole one.
bool HasRename(const JobSpec& spec, const std::string& name);

// Whether recipes have the models' tensors as they are: none is renamed or sees.
bool AllPlain(const JobSpec& spec, const CheckpointMap& models);

// The models' tensors, adapted to the layout: those of `opened` (OpenJobModels); null where AllPlain. Only what has to be
// adapted is copied. InvalidArgument: a model lacks a tensor of the layout; errors of MergeSources::Create.
absl::StatusOr<std::shared_ptr<const MergeSources>> AdaptedSources(const JobSpec& spec, const CheckpointMap& models,
                                                                   const ArenaLayout& layout, const RecipeModels* opened);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_SOURCE_MODELS_H_

// The checkpoints that a job or a recipe names: found, opened and known to fit together.
#ifndef MERGANSER_WORKER_EVALUATE_SOURCE_MODELS_H_
#define MERGANSER_WORKER_EVALUATE_SOURCE_MODELS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/merge/arena.h"

namespace merganser {

using CheckpointMap = std::map<std::string, std::shared_ptr<const Checkpoint>>;  // by model name; shared with the merge

// Where this process looks for models: within `model_roots` if there are any, and in the environment's Hugging Face cache.
ModelLocatorOptions LocatorOptions(const std::vector<std::string>& model_roots);

// Finds (Hub ids in the local Hugging Face cache) and opens every model. Errors start with "models.NAME.path: ": those of
// ResolveModel and Checkpoint::Open; `model_roots` as there.
absl::StatusOr<CheckpointMap> OpenModels(const std::vector<ModelRef>& models, const std::vector<std::string>& model_roots);

// OK if all models run alike: what their configs say beyond tensor shapes (RoPE, window, norm epsilon, activation, tied head)
// is the same. InvalidArgument names both models, the field and both values: the merge would silently take one of them.
absl::Status CheckSameForwardPass(const CheckpointMap& models);

// Where the merge of these models lies in memory, in the order that the engine likes, as `dtype` ("bfloat16", ...).
absl::StatusOr<ArenaLayout> MergedLayout(const ModelConfig& config, const std::string& dtype);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_SOURCE_MODELS_H_

// The published form of data-flow models (SakanaAI/EvoLLM-JP-v1-10B): distinct layers, and the tensors
// that say in which order and with which scales they are visited.
#ifndef MERGANSER_WORKER_CHECKPOINT_EVO_MISTRAL_H_
#define MERGANSER_WORKER_CHECKPOINT_EVO_MISTRAL_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/weight_files.h"

namespace merganser {

inline constexpr absl::string_view kEvoMistralArchitecture = "EvoMistralForCausalLM";
inline constexpr absl::string_view kInputLayersTensor = "model.input_layers";  // I32 [hops]
inline constexpr absl::string_view kInputScalesTensor = "model.input_scales";  // F32 [hops]

// The path that the two tensors describe, over stack 0. InvalidArgument (names directory and tensor):
// one of them is missing, of another type or shape, or holds a layer that is negative or a scale that is
// not finite.
absl::StatusOr<std::vector<Hop>> ReadEvoMistralPath(const WeightFiles& files);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_EVO_MISTRAL_H_

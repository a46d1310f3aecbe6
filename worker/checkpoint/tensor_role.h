// Which part of a model a tensor belongs to, by its name.
#ifndef MERGANSER_WORKER_CHECKPOINT_TENSOR_ROLE_H_
#define MERGANSER_WORKER_CHECKPOINT_TENSOR_ROLE_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "common/domain/recipe.h"

namespace merganser {

struct TensorRole {
  std::optional<ModelPart>
      part;        // absent: none of the parts that recipes know (a vision tower, for instance)
  int layer = -1;  // of a tensor with part kLayers, else -1
  bool operator==(const TensorRole&) const = default;
};

// The role of a Llama-like name: "model.embed_tokens.*" is kEmbedding, "model.layers.N.*" is
// kLayers with layer N, "model.norm.*" is kNorm, "lm_head.*" is kHead. Everything else has no part,
// a layer number that is not a plain decimal of at most six digits included.
TensorRole RoleOf(absl::string_view tensor_name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_TENSOR_ROLE_H_

// Which part of a model a tensor belongs to, by its name.
#ifndef MERGANSER_WORKER_CHECKPOINT_TENSOR_ROLE_H_
#define MERGANSER_WORKER_CHECKPOINT_TENSOR_ROLE_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/domain/recipe.h"

namespace merganser {

struct TensorRole {
  std::optional<ModelPart> part;  // absent: none of the parts that recipes know (a vision tower, for instance)
  int layer = -1;                 // of a tensor with part kLayers, else -1
  bool operator==(const TensorRole&) const = default;
};

// The role of a name as the decoders of KnownArchitectures() and their relatives have it:
// "model.embed_tokens.*" is kEmbedding, "model.layers.N.*" is kLayers with layer N, "model.norm.*" is
// kNorm, "lm_head.*" is kHead; likewise below "language_model." (LLaVA, Gemma 3), and the names of
// GPT-NeoX, GPT-2, Falcon and Mamba. Everything else has no part, a layer number that is not a plain
// decimal of at most six digits included.
TensorRole RoleOf(absl::string_view tensor_name);

// Roles for checkpoints of any family.
class TensorRoles {
 public:
  // Reads the names of all tensors of a model. If RoleOf knows no layer among them, the layers are
  // those of the prefix that most names have before their first ".N." ("bert.encoder.layer."), and what
  // stands outside of numbered parts has no part.
  static TensorRoles Infer(absl::Span<const std::string> tensor_names);

  TensorRole Of(absl::string_view tensor_name) const;
  // One more than the highest layer of `tensor_names`; 0 without layers.
  int Layers(absl::Span<const std::string> tensor_names) const;
  // "model.layers." where layers were inferred from the names; "" where RoleOf knows them.
  const std::string& inferred_prefix() const { return prefix_; }

 private:
  std::string prefix_;
};

// `tensor_name`, whose role is `role`, with layer number `layer`; names without a layer as they are.
std::string WithLayer(const std::string& tensor_name, const TensorRole& role, int layer);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_TENSOR_ROLE_H_

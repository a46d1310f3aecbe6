// The order in which a candidate's weights should lie in memory, so that the engine can use them
// without copying.
#ifndef MERGANSER_WORKER_ENGINE_WEIGHT_LAYOUT_H_
#define MERGANSER_WORKER_ENGINE_WEIGHT_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/model_config.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/weight_source.h"

namespace merganser {

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool operator==(const TensorSpec&) const = default;
};

// Every tensor that the engine reads, in layer order: embedding, layers 0 .. num_layers-1, final
// norm, and the output matrix unless it is tied. Within a layer the weights (and the biases) of q,
// k, v and those of gate, up are neighbours: written one after the other without a gap they are one
// fused matrix.
std::vector<TensorSpec> WeightLayout(const ModelConfig& config);

// "model.layers.3.self_attn.q_proj.weight" for (3, "self_attn.q_proj.weight").
std::string LayerTensorName(int64_t layer, absl::string_view rest);

// `source`'s tensor of that name, checked: InvalidArgument if its shape is not `shape` or its type
// is none of F64, F32, F16, BF16 (the message names the tensor, and what was found and expected);
// NotFound.
absl::StatusOr<WeightView> FindWeight(const WeightSource& source, const std::string& name,
                                      const std::vector<int64_t>& shape);

// The path of an EvoMistral model: the tensors model.input_layers (integers) and model.input_scales
// (fp32), of `num_hops` elements each. InvalidArgument naming the tensor; NotFound.
absl::StatusOr<std::vector<LayerHop>> ReadStoredPath(const WeightSource& source, int64_t num_hops);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_WEIGHT_LAYOUT_H_

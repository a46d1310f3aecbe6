// Models with a PEFT adapter merged into them.
#ifndef MERGANSER_WORKER_MERGE_LORA_SOURCE_H_
#define MERGANSER_WORKER_MERGE_LORA_SOURCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/merge/tensor_source.h"

namespace merganser {

// `model` with the adapter in `adapter_dir` (adapter_config.json, adapter_model.safetensors) added to
// the weights when they are loaded: W + scale * B A in fp32 (Hu et al. 2021, arXiv 2106.09685, eq. 3),
// scale = lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora; rank_pattern and alpha_pattern are
// honoured. Adapted tensors are of type F32, so that nothing is rounded before the merge. Tensors of
// modules_to_save replace the model's, and so does the layer that PEFT stores beside an embedding's
// matrices ("embed_tokens.base_layer.weight"): the product is added to that. `threads` share a product.
//
// NotFound: no such files. InvalidArgument (names file, tensor and shapes): a bad config, an adapter
// tensor that the model has no place for, half a pair, or shapes that do not fit. Unimplemented: another
// kind of adapter (DoRA, biases, layers replicated).
absl::StatusOr<std::shared_ptr<const TensorSource>> LoraSource(std::shared_ptr<const TensorSource> model,
                                                               const std::string& adapter_dir, int threads);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_LORA_SOURCE_H_

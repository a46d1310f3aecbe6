// The weights of one source as tensors on the engine's device and in its type, with q, k, v and gate,
// up fused.
#ifndef MERGANSER_WORKER_ENGINE_ATEN_WEIGHTS_H_
#define MERGANSER_WORKER_ENGINE_ATEN_WEIGHTS_H_

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/checkpoint/model_config.h"
#include "worker/engine/cpu_weights.h"
#include "worker/engine/weight_source.h"

namespace merganser {

// Thread-compatible.
class AtenWeights {
 public:
  struct Linear {
    at::Tensor weight;  // [out, in]
    at::Tensor bias;    // [out], or undefined
  };
  struct Layer {
    // Norms are of the engine's type, or (norm_adds_one) fp32 with 1 added. Undefined where the
    // family has none.
    at::Tensor input_norm, post_norm, pre_mlp_norm, post_mlp_norm, q_norm, k_norm;
    Linear qkv, o, gate_up, down;
  };

  // Copies and converts what is wanted, was not loaded before (of a constant source) and cannot be
  // used in place (WeightSource::may_alias). Own tensors are allocated when first needed and then
  // kept where they are. Errors of FindWeight; throws what ATen throws.
  absl::Status Load(const ModelConfig& config, const WeightSource& source, int num_layers, const WeightsWanted& wanted,
                    const at::TensorOptions& options);

  uint64_t constant_id() const { return constant_id_; }

  // REQUIRES for what follows: it was among what was wanted.
  const Layer& layer(int i) const { return layers_[i]; }
  const at::Tensor& embedding() const { return embedding_; }
  const at::Tensor& final_norm() const { return final_norm_; }
  const at::Tensor& head() const { return head_; }

 private:
  // The matrices (or vectors) `names`, which have `columns` columns (0: vectors) and `rows[i]`
  // rows, as one tensor.
  absl::StatusOr<at::Tensor> Fused(const WeightSource& source, const std::vector<std::string>& names,
                                   const std::vector<int64_t>& rows, int64_t columns, const at::TensorOptions& options);
  // In memory of its own, so that it stays where it is.
  at::Tensor PlusOne(const std::string& name, const at::Tensor& weight);
  absl::Status LoadLayer(const ModelConfig& config, const WeightSource& source, int i, const at::TensorOptions& options);

  uint64_t constant_id_ = 0;
  WeightsWanted loaded_;
  std::vector<Layer> layers_;
  at::Tensor embedding_, final_norm_, head_;
  std::map<std::string, at::Tensor> own_;  // by the first tensor's name
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_WEIGHTS_H_

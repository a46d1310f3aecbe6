// A candidate's weights as tensors on the engine's device and in its type, with q, k, v and gate,
// up fused.
#ifndef MERGANSER_WORKER_ENGINE_ATEN_WEIGHTS_H_
#define MERGANSER_WORKER_ENGINE_ATEN_WEIGHTS_H_

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/checkpoint/model_config.h"
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
    at::Tensor input_norm, post_norm;
    Linear qkv, o, gate_up, down;
  };

  // Copies and converts what cannot be used in place (WeightSource::may_alias). Own tensors are
  // allocated when first needed and then kept. Errors of FindWeight; throws what ATen throws.
  absl::Status Load(const ModelConfig& config, const WeightSource& source,
                    const at::TensorOptions& options);

  const Layer& layer(int i) const { return layers_[i]; }
  const at::Tensor& embedding() const { return embedding_; }
  const at::Tensor& final_norm() const { return final_norm_; }
  const at::Tensor& head() const { return head_; }

 private:
  // The matrices (or vectors) `names`, which have `columns` columns (0: vectors) and `rows[i]`
  // rows, as one tensor.
  absl::StatusOr<at::Tensor> Fused(const WeightSource& source,
                                   const std::vector<std::string>& names,
                                   const std::vector<int64_t>& rows, int64_t columns,
                                   const at::TensorOptions& options);

  std::vector<Layer> layers_;
  at::Tensor embedding_, final_norm_, head_;
  std::vector<at::Tensor>
      own_;  // in the order of the calls of Fused; undefined where nothing was ever copied
  size_t next_own_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_WEIGHTS_H_

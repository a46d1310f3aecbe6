// CLIP's vision transformer (Radford et al., arXiv 2103.00020), as far as LLaVA reads it.
#ifndef MERGANSER_WORKER_VISION_CLIP_TOWER_H_
#define MERGANSER_WORKER_VISION_CLIP_TOWER_H_

#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/vision/vision_config.h"

namespace merganser {

// Finds a tensor by its name within the tower ("embeddings.class_embedding"), checked and ready to compute with.
using FindTensor = std::function<absl::StatusOr<at::Tensor>(const std::string& name, const std::vector<int64_t>& shape)>;

// Thread-compatible.
class ClipTower {
 public:
  // Layers above the one whose output is wanted are not loaded. Errors of `find`.
  static absl::StatusOr<ClipTower> Load(const VisionConfig& config, const FindTensor& find);

  // pixels [tiles, 3, image_size, image_size] -> the hidden state that config.feature_layer names:
  // [tiles, 1 + patches, hidden_size], class token first. Throws what torch throws.
  at::Tensor Forward(const at::Tensor& pixels) const;

 private:
  struct Linear {
    at::Tensor weight, bias;
  };
  struct Norm {
    at::Tensor weight, bias;
  };
  struct Layer {
    Norm norm1, norm2;
    Linear qkv, out, fc1, fc2;
  };

  at::Tensor Apply(const Norm& norm, const at::Tensor& x) const;
  at::Tensor Attend(const Layer& layer, const at::Tensor& x) const;

  VisionConfig config_;
  at::Tensor patch_embedding_;     // [hidden, 3, patch, patch]
  at::Tensor class_embedding_;     // [hidden]
  at::Tensor position_embedding_;  // [1 + patches, hidden]
  Norm pre_norm_;
  std::vector<Layer> layers_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_CLIP_TOWER_H_

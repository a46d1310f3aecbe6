// The seeing half of a LLaVA model: CLIP's tower, the projector, and LLaVA-NeXT's way of laying tiles out. Its features
// stand in the prompt where the image token is (GenerationRequest::embeddings). They do not depend on the language model, so
// a job whose vision side is frozen computes them once.
#ifndef MERGANSER_WORKER_VISION_VISION_MODEL_H_
#define MERGANSER_WORKER_VISION_VISION_MODEL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/vision/image.h"
#include "worker/vision/image_processor.h"
#include "worker/vision/vision_config.h"

namespace merganser {

struct ImageFeatures {
  int rows = 0;               // image tokens
  int width = 0;              // the language model's hidden size
  std::vector<float> values;  // [rows, width]
};

// The tensor of that name, or nullptr.
using FindView = std::function<const TensorView*(const std::string& name)>;

// Thread-compatible. Computes in fp32 (CPU) or in bf16 (CUDA), whatever the files hold.
class VisionModel {
 public:
  // Reads the tower, the projector and image_newline of `checkpoint`, under any of the names that transformers has given
  // them, and preprocessor_config.json beside it. `device`: "cpu" or "cuda:N". NotFound: no preprocessor_config.json, a
  // missing tensor. InvalidArgument: a tensor of another shape, sizes that do not fit. Unimplemented: not a LLaVA model.
  // `weights`, if not null, has the tensors in place of the checkpoint, under its names: of a merge.
  static absl::StatusOr<std::unique_ptr<VisionModel>> Load(const std::shared_ptr<const Checkpoint>& checkpoint,
                                                           const std::string& device, const FindView& weights = nullptr);
  virtual ~VisionModel() = default;

  virtual const VisionConfig& config() const = 0;
  virtual const ImageProcessorConfig& processor() const = 0;

  // Features of one picture. InvalidArgument: tiles of another size than the tower's. Errors of torch.
  virtual absl::StatusOr<ImageFeatures> Encode(const PixelValues& pixels) = 0;
};

// preprocessor_config.json of `checkpoint`; `next`: VisionConfig::next. NotFound: it is missing; errors of Parse.
absl::StatusOr<ImageProcessorConfig> ReadImageProcessor(const Checkpoint& checkpoint, bool next);

// Features of one picture as the model sees it. Errors of ProcessImage and Encode.
absl::StatusOr<ImageFeatures> EncodeImage(VisionModel& vision, const Image& image);

// True if `checkpoint` is a vision-language model.
bool IsVisionModel(const Checkpoint& checkpoint);

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_VISION_MODEL_H_

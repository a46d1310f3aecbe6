#include "worker/vision/vision_model.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/tensor_view.h"
#include "worker/engine/device.h"
#include "worker/engine/scalar_type.h"
#include "worker/engine/torch_status.h"
#include "worker/vision/clip_tower.h"

namespace merganser {
namespace {

constexpr int64_t kProcessorBytesMax = 1 << 20;

// The tensor under the first of `names` that is there.
absl::StatusOr<at::Tensor> FindAny(const Checkpoint& checkpoint, const FindView& weights,
                                   const std::vector<std::string>& names, const std::vector<int64_t>& shape,
                                   const at::TensorOptions& options) {
  for (const std::string& name : names) {
    const TensorView* view = weights != nullptr ? weights(name) : checkpoint.Find(name);
    if (view == nullptr) continue;
    if (view->shape != shape || !IsFloatingPoint(view->dtype)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", checkpoint.FileOf(name), "': tensor '", name, "' is ", Name(view->dtype), " of shape ",
                       ShapeText(view->shape), "; the config asks for floating-point numbers of shape ", ShapeText(shape)));
    }
    at::Tensor tensor;
    MG_RETURN_IF_ERROR(CatchTorch(absl::StrCat("reading tensor '", name, "'"), [&] {
      c10::InferenceMode guard;
      // A copy first: in the file a tensor may lie at any byte.
      tensor = at::empty(shape, ScalarTypeOf(view->dtype));
      std::memcpy(tensor.data_ptr(), view->data.data(), view->data.size());
      tensor = tensor.to(options);
    }));
    return tensor;
  }
  return absl::NotFoundError(absl::StrCat("'", checkpoint.dir(), "': tensor '", names.front(), "' is missing; ",
                                          checkpoint.config().architecture, " needs it"));
}

class LlavaVision : public VisionModel {
 public:
  LlavaVision(VisionConfig config, ImageProcessorConfig processor, ClipTower tower, at::TensorOptions options,
              int64_t hidden)
      : config_(std::move(config)),
        processor_(std::move(processor)),
        tower_(std::move(tower)),
        options_(options),
        hidden_(hidden) {}

  absl::Status LoadProjector(const Checkpoint& checkpoint, const FindView& weights) {
    const auto find = [&](const std::string& name, const std::vector<int64_t>& shape) {
      return FindAny(checkpoint, weights, {name, "model." + name}, shape, options_);
    };
    MG_ASSIGN_OR_RETURN(linear1_, find("multi_modal_projector.linear_1.weight", {hidden_, config_.hidden_size}));
    MG_ASSIGN_OR_RETURN(linear2_, find("multi_modal_projector.linear_2.weight", {hidden_, hidden_}));
    if (config_.projector_bias) {
      MG_ASSIGN_OR_RETURN(bias1_, find("multi_modal_projector.linear_1.bias", {hidden_}));
      MG_ASSIGN_OR_RETURN(bias2_, find("multi_modal_projector.linear_2.bias", {hidden_}));
    }
    if (config_.next) {
      MG_ASSIGN_OR_RETURN(newline_, find("image_newline", {hidden_}));
    }
    return absl::OkStatus();
  }

  const VisionConfig& config() const override { return config_; }
  const ImageProcessorConfig& processor() const override { return processor_; }

  absl::StatusOr<ImageFeatures> Encode(const PixelValues& pixels) override {
    ImageFeatures features;
    MG_ASSIGN_OR_RETURN(features.values, Run(pixels));
    features.width = static_cast<int>(hidden_);
    features.rows = static_cast<int>(features.values.size() / hidden_);
    return features;
  }

 private:
  // Tower, projector and layout: [rows, hidden] of the language model.
  absl::StatusOr<std::vector<float>> Run(const PixelValues& pixels) {
    if (pixels.height != config_.image_size || pixels.width != config_.image_size) {
      return absl::InvalidArgumentError(absl::StrCat("preprocessor_config.json makes pictures of ", pixels.height, " x ",
                                                     pixels.width, " pixels; the vision tower reads ", config_.image_size,
                                                     " x ", config_.image_size));
    }
    std::vector<float> numbers;
    MG_RETURN_IF_ERROR(CatchTorch("running the vision tower", [&] {
      c10::InferenceMode guard;
      const at::Tensor values =
          at::from_blob(const_cast<float*>(pixels.values.data()), {pixels.tiles, 3, pixels.height, pixels.width}, at::kFloat)
              .to(options_);
      const at::Tensor result = Pack(Project(Tower(values)), pixels).to(at::kCPU, at::kFloat).contiguous();
      numbers.assign(result.const_data_ptr<float>(), result.const_data_ptr<float>() + result.numel());
    }));
    return numbers;
  }

  at::Tensor Tower(const at::Tensor& pixels) const {
    const at::Tensor hidden = tower_.Forward(pixels);
    return config_.drop_class_token ? hidden.narrow(1, 1, hidden.size(1) - 1) : hidden;
  }

  at::Tensor Project(const at::Tensor& x) const {
    return at::linear(at::gelu(at::linear(x, linear1_, bias1_)), linear2_, bias2_);
  }

  // [rows, hidden]. LLaVA-NeXT (1.6): the whole picture's patches, then the tiles' as one grid, without what padding
  // covered, each row of it followed by image_newline.
  at::Tensor Pack(const at::Tensor& features, const PixelValues& pixels) const {
    const at::Tensor base = features[0];
    if (!config_.next) return base;
    if (features.size(0) == 1) return at::cat({base, newline_.unsqueeze(0)});
    const Resolution best = SelectBestResolution({pixels.image_height, pixels.image_width}, config_.pinpoints);
    const int64_t rows = best.height / config_.image_size, columns = best.width / config_.image_size, grid = config_.grid();
    // [rows, columns, grid, grid, hidden] -> [hidden, rows * grid, columns * grid]
    at::Tensor tiles = features.narrow(0, 1, features.size(0) - 1)
                           .reshape({rows, columns, grid, grid, hidden_})
                           .permute({4, 0, 2, 1, 3})
                           .reshape({hidden_, rows * grid, columns * grid});
    tiles = Unpad(tiles, pixels.image_height, pixels.image_width);
    const at::Tensor newline = newline_.view({hidden_, 1, 1}).expand({hidden_, tiles.size(1), 1});
    return at::cat({base, at::cat({tiles, newline}, 2).flatten(1).transpose(0, 1)});
  }

  // Cuts off what FitInto (image_processor.cc) padded, in whole patches.
  static at::Tensor Unpad(const at::Tensor& grid, int height, int width) {
    const int64_t rows = grid.size(1), columns = grid.size(2);
    // Python's round(x, 7), which keeps 1.9999999999 from becoming 1.
    const auto whole = [](double x) { return static_cast<int64_t>(std::nearbyint(x * 1e7) / 1e7); };
    if (static_cast<double>(width) / height > static_cast<double>(columns) / rows) {
      const int64_t padding = (rows - whole(height * (static_cast<double>(columns) / width))) / 2;
      return grid.narrow(1, padding, rows - 2 * padding);
    }
    const int64_t padding = (columns - whole(width * (static_cast<double>(rows) / height))) / 2;
    return grid.narrow(2, padding, columns - 2 * padding);
  }

  const VisionConfig config_;
  const ImageProcessorConfig processor_;
  const ClipTower tower_;
  const at::TensorOptions options_;
  const int64_t hidden_;  // of the language model
  at::Tensor linear1_, bias1_, linear2_, bias2_, newline_;
};

}  // namespace

bool IsVisionModel(const Checkpoint& checkpoint) { return absl::StartsWith(checkpoint.config().architecture, "Llava"); }

absl::StatusOr<ImageProcessorConfig> ReadImageProcessor(const Checkpoint& checkpoint, bool next) {
  const std::string path = checkpoint.dir() + "/preprocessor_config.json";
  const absl::StatusOr<std::string> text = ReadFile(path, kProcessorBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("'", path, "' is missing: it says how pictures become pixel values"));
  }
  MG_RETURN_IF_ERROR(text.status());
  return ImageProcessorConfig::Parse(*text, next, path);
}

absl::StatusOr<ImageFeatures> EncodeImage(VisionModel& vision, const Image& image) {
  MG_ASSIGN_OR_RETURN(const PixelValues pixels, ProcessImage(image, vision.processor()));
  return vision.Encode(pixels);
}

absl::StatusOr<std::unique_ptr<VisionModel>> VisionModel::Load(const std::shared_ptr<const Checkpoint>& checkpoint,
                                                               const std::string& device_name, const FindView& weights) {
  const std::string& dir = checkpoint->dir();
  MG_ASSIGN_OR_RETURN(VisionConfig config, VisionConfig::Parse(checkpoint->config().raw_json, dir + "/config.json"));
  MG_ASSIGN_OR_RETURN(ImageProcessorConfig processor, ReadImageProcessor(*checkpoint, config.next));
  if (config.next && processor.pinpoints.empty()) processor.pinpoints = config.pinpoints;
  if (config.next && processor.pinpoints != config.pinpoints) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", dir, "/preprocessor_config.json': field 'image_grid_pinpoints' differs from config.json's"));
  }
  MG_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(device_name));
  MG_RETURN_IF_ERROR(PrepareDevice(device));
  const at::TensorOptions options = at::TensorOptions().device(device).dtype(device.is_cpu() ? at::kFloat : at::kBFloat16);
  MG_ASSIGN_OR_RETURN(ClipTower tower,
                      ClipTower::Load(config, [&](const std::string& name, const std::vector<int64_t>& shape) {
                        return FindAny(*checkpoint, weights,
                                       {"vision_tower.vision_model." + name, "vision_tower." + name,
                                        "model.vision_tower.vision_model." + name, "model.vision_tower." + name},
                                       shape, options);
                      }));
  auto model = std::make_unique<LlavaVision>(std::move(config), std::move(processor), std::move(tower), options,
                                             checkpoint->config().hidden_size);
  MG_RETURN_IF_ERROR(model->LoadProjector(*checkpoint, weights));
  return model;
}

}  // namespace merganser

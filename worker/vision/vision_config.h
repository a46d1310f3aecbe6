// What config.json and preprocessor_config.json of a LLaVA checkpoint say about its pictures.
#ifndef MERGANSER_WORKER_VISION_VISION_CONFIG_H_
#define MERGANSER_WORKER_VISION_VISION_CONFIG_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// A resolution (pixels) that a picture may be tiled in.
struct Resolution {
  int height = 0;
  int width = 0;
  bool operator==(const Resolution&) const = default;
};

// The vision side of config.json. Sizes are positive; hidden_size is a multiple of num_heads, image_size of patch_size.
struct VisionConfig {
  bool next = false;  // LLaVA-NeXT (1.6): tiles at any resolution; else LLaVA-1.5, one square
  // CLIP's tower.
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_layers = 12;
  int64_t num_heads = 12;
  int64_t image_size = 224;  // pixels of a tile's edge
  int64_t patch_size = 32;   // pixels
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";
  // Which of the tower's hidden states the projector reads; -2: the output of the last layer but one.
  int64_t feature_layer = -2;
  bool drop_class_token = true;  // vision_feature_select_strategy: "default"; false: "full"
  std::string projector_act = "gelu";
  bool projector_bias = true;
  std::vector<Resolution> pinpoints;  // of LLaVA-NeXT
  int32_t image_token_id = 32000;     // stands in a prompt for the features

  // Patches along a tile's edge.
  int64_t grid() const { return image_size / patch_size; }

  // `path` is for messages. InvalidArgument names file, field, value and bound. Unimplemented: another kind of model, tower
  // or activation (names it).
  static absl::StatusOr<VisionConfig> Parse(absl::string_view config_json, const std::string& path);
};

// preprocessor_config.json: from a picture to pixel values. Defaults are those of transformers' processor.
struct ImageProcessorConfig {
  bool next = false;           // tiles
  bool pad_to_square = false;  // first of all, with the mean colour: do_pad of LLaVA-1.5's own processor
  bool resize = true;          // the shortest edge becomes shortest_edge; or exactly `exact`, where that is set
  int shortest_edge = 336;
  Resolution exact;
  bool center_crop = true;
  Resolution crop{336, 336};
  bool rescale = true;
  double rescale_factor = 1.0 / 255.0;
  bool normalize = true;
  std::array<double, 3> mean{0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> std{0.26862954, 0.26130258, 0.27577711};
  std::vector<Resolution> pinpoints;

  // `next`: of the model. Errors as VisionConfig::Parse.
  static absl::StatusOr<ImageProcessorConfig> Parse(absl::string_view json, bool next, const std::string& path);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_VISION_CONFIG_H_

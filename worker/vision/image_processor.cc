#include "worker/vision/image_processor.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

// [3, height, width], uint8.
at::Tensor Resize(const at::Tensor& image, int height, int width) {
  if (image.size(1) == height && image.size(2) == width) return image;
  return at::_upsample_bicubic2d_aa(image.unsqueeze(0), {height, width}, /*align_corners=*/false).squeeze(0);
}

// Cuts from the middle; what lies outside the picture is 0.
at::Tensor CenterCrop(const at::Tensor& image, Resolution size) {
  const int64_t height = image.size(1), width = image.size(2);
  if (height == size.height && width == size.width) return image;
  at::Tensor source = image;
  if (height < size.height || width < size.width) {
    const int64_t left = std::max<int64_t>(0, (size.width - width) / 2),
                  top = std::max<int64_t>(0, (size.height - height) / 2);
    const int64_t right = std::max<int64_t>(0, (size.width - width + 1) / 2);
    const int64_t bottom = std::max<int64_t>(0, (size.height - height + 1) / 2);
    source = at::constant_pad_nd(source, {left, right, top, bottom}, 0);
    if (source.size(1) == size.height && source.size(2) == size.width) return source;
  }
  const int64_t top = (source.size(1) - size.height) / 2, left = (source.size(2) - size.width) / 2;
  return source.narrow(1, top, size.height).narrow(2, left, size.width);
}

// In the middle of a square of the mean colour.
at::Tensor PadToSquare(const at::Tensor& image, const std::array<double, 3>& mean) {
  const int64_t height = image.size(1), width = image.size(2), edge = std::max(height, width);
  if (height == width) return image;
  at::Tensor square = at::empty({3, edge, edge}, image.options());
  for (int c = 0; c < 3; ++c) square[c].fill_(static_cast<int64_t>(mean[c] * 255));
  square.narrow(1, (edge - height) / 2, height).narrow(2, (edge - width) / 2, width).copy_(image);
  return square;
}

// The picture scaled into `target` with its aspect kept, in the middle of zeros.
at::Tensor FitInto(const at::Tensor& image, Resolution target) {
  const double height = static_cast<double>(image.size(1)), width = static_cast<double>(image.size(2));
  const double scale_w = target.width / width, scale_h = target.height / height;
  int new_height = target.height, new_width = target.width;
  if (scale_w < scale_h) {
    new_height = std::min(static_cast<int>(std::ceil(height * scale_w)), target.height);
  } else {
    new_width = std::min(static_cast<int>(std::ceil(width * scale_h)), target.width);
  }
  const at::Tensor resized = Resize(image, new_height, new_width);
  const int64_t left = (target.width - new_width) / 2, top = (target.height - new_height) / 2;
  return at::constant_pad_nd(resized, {left, target.width - new_width - left, top, target.height - new_height - top}, 0);
}

std::vector<at::Tensor> Tiles(const at::Tensor& image, const ImageProcessorConfig& config) {
  const int edge = config.crop.height;
  const Resolution best =
      SelectBestResolution({static_cast<int>(image.size(1)), static_cast<int>(image.size(2))}, config.pinpoints);
  const at::Tensor fitted = FitInto(image, best);
  const Resolution whole = config.exact.height > 0 ? config.exact : Resolution{config.shortest_edge, config.shortest_edge};
  std::vector<at::Tensor> tiles = {Resize(image, whole.height, whole.width)};
  for (int y = 0; y < best.height; y += edge) {
    for (int x = 0; x < best.width; x += edge) {
      tiles.push_back(fitted.narrow(1, y, std::min(edge, best.height - y)).narrow(2, x, std::min(edge, best.width - x)));
    }
  }
  return tiles;
}

at::Tensor ResizeShortestEdge(const at::Tensor& image, int edge) {
  const int64_t height = image.size(1), width = image.size(2);
  const int64_t longer = std::max(height, width), shorter = std::min(height, width);
  const int other = static_cast<int>(static_cast<int64_t>(edge) * longer / shorter);
  return width <= height ? Resize(image, other, edge) : Resize(image, edge, other);
}

at::Tensor Normalize(const at::Tensor& images, const ImageProcessorConfig& config) {
  const auto channels = [](const std::array<double, 3>& v) {
    return at::tensor({static_cast<float>(v[0]), static_cast<float>(v[1]), static_cast<float>(v[2])}, at::kFloat);
  };
  at::Tensor values = images.to(at::kFloat);
  if (!config.normalize) return config.rescale ? values.mul_(config.rescale_factor) : values;
  at::Tensor mean = channels(config.mean), std = channels(config.std);
  if (config.rescale) {  // in one step, as transformers does
    mean = mean * (1.0 / config.rescale_factor);
    std = std * (1.0 / config.rescale_factor);
  }
  return values.sub_(mean.view({1, 3, 1, 1})).div_(std.view({1, 3, 1, 1}));
}

// A thin picture grows by as much as it is thin, and a line of a KB to hundreds of GB.
absl::Status CheckGrowth(const Image& image, const ImageProcessorConfig& config) {
  const int64_t longer = std::max(image.width, image.height), shorter = std::min(image.width, image.height);
  const int64_t pixels_max = ImageLimits().max_pixels;
  int64_t height = image.height, width = image.width;
  if (!config.next && config.pad_to_square) {
    height = width = longer;
  } else if (!config.next && config.resize && config.exact.height == 0) {
    const int64_t edge = config.shortest_edge, other = edge * longer / shorter;
    height = image.height < image.width ? edge : other;
    width = image.height < image.width ? other : edge;
  }
  if (width <= pixels_max / height) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("a picture of ", image.width, " x ", image.height,
                                                   " pixels would become one of ", width, " x ", height,
                                                   " on its way to the model; at most ", pixels_max, " in all are made"));
}

}  // namespace

Resolution SelectBestResolution(Resolution image, absl::Span<const Resolution> pinpoints) {
  Resolution best;
  int64_t best_kept = 0, best_wasted = 0;
  for (const Resolution& p : pinpoints) {
    const double scale = std::min(static_cast<double>(p.width) / image.width, static_cast<double>(p.height) / image.height);
    const int64_t scaled = static_cast<int64_t>(image.width * scale) * static_cast<int64_t>(image.height * scale);
    const int64_t kept = std::min(scaled, static_cast<int64_t>(image.width) * image.height);
    const int64_t wasted = static_cast<int64_t>(p.width) * p.height - kept;
    if (best.height == 0 || kept > best_kept || (kept == best_kept && wasted < best_wasted)) {
      best = p;
      best_kept = kept;
      best_wasted = wasted;
    }
  }
  return best;
}

absl::StatusOr<PixelValues> ProcessImage(const Image& image, const ImageProcessorConfig& config) {
  if (config.next) {
    const int edge = config.crop.height;
    if (config.pinpoints.empty()) return absl::InvalidArgumentError("image_grid_pinpoints: there are none");
    for (const Resolution& p : config.pinpoints) {
      if (config.crop.width == edge && p.height % edge == 0 && p.width % edge == 0) continue;
      return absl::InvalidArgumentError(absl::StrCat("image_grid_pinpoints: ", p.height, " x ", p.width,
                                                     " cannot be cut into tiles of ", edge, " x ", config.crop.width));
    }
  }
  MG_RETURN_IF_ERROR(CheckGrowth(image, config));
  PixelValues result;
  MG_RETURN_IF_ERROR(CatchTorch("processing an image", [&] {
    c10::InferenceMode guard;
    at::Tensor picture = at::from_blob(const_cast<uint8_t*>(image.rgb.data()), {image.height, image.width, 3}, at::kByte)
                             .permute({2, 0, 1})
                             .contiguous();
    if (config.pad_to_square) picture = PadToSquare(picture, config.mean);
    std::vector<at::Tensor> tiles;
    if (config.next) {
      tiles = Tiles(picture, config);
    } else if (!config.resize) {
      tiles = {picture};
    } else if (config.exact.height > 0) {
      tiles = {Resize(picture, config.exact.height, config.exact.width)};
    } else {
      tiles = {ResizeShortestEdge(picture, config.shortest_edge)};
    }
    if (config.center_crop) {
      for (at::Tensor& tile : tiles) tile = CenterCrop(tile, config.crop);
    }
    const at::Tensor values = Normalize(at::stack(tiles), config).contiguous();
    result.tiles = static_cast<int>(values.size(0));
    result.height = static_cast<int>(values.size(2));
    result.width = static_cast<int>(values.size(3));
    const float* data = values.const_data_ptr<float>();
    result.values.assign(data, data + values.numel());
  }));
  result.image_height = image.height;
  result.image_width = image.width;
  return result;
}

}  // namespace merganser

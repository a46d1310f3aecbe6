// From a picture to the numbers that a vision tower reads, as transformers' CLIPImageProcessor and LlavaNextImageProcessor
// do.
#ifndef MERGANSER_WORKER_VISION_IMAGE_PROCESSOR_H_
#define MERGANSER_WORKER_VISION_IMAGE_PROCESSOR_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/vision/image.h"
#include "worker/vision/vision_config.h"

namespace merganser {

struct PixelValues {
  int tiles = 0;                          // 1, or with LLaVA-NeXT the whole picture and then its tiles, row by row
  int height = 0, width = 0;              // of a tile
  std::vector<float> values;              // [tiles, 3, height, width], normalized
  int image_height = 0, image_width = 0;  // of the picture
};

// Resizing is bicubic with antialiasing in 8 bits, the numbers of transformers 5 on a CPU; Pillow's resampler (transformers
// 4) differs from it by one or two levels in about half a percent of the pixels. InvalidArgument: tiles that the picture
// cannot be cut into. ResourceExhausted: a picture so thin that it would become more than ImageLimits().max_pixels on the
// way. Errors of torch. Any thread.
absl::StatusOr<PixelValues> ProcessImage(const Image& image, const ImageProcessorConfig& config);

// The resolution among `pinpoints` that keeps most of the picture and wastes least.
Resolution SelectBestResolution(Resolution image, absl::Span<const Resolution> pinpoints);

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_IMAGE_PROCESSOR_H_

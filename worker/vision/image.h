// Pictures as users have them: JPEG and PNG, decoded to 8-bit RGB as Pillow's `Image.open(f).convert("RGB")` gives it.
// Begin here in this folder; then image_processor.h (pixels to a model's input) and vision_model.h (to features).
#ifndef MERGANSER_WORKER_VISION_IMAGE_H_
#define MERGANSER_WORKER_VISION_IMAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

// What is refused before memory or time is taken for it: a few bytes of a hostile file can ask for terabytes, or hours.
struct ImageLimits {
  int64_t max_bytes = int64_t{64} << 20;  // of the file
  int64_t max_pixels = 178'956'970;       // width * height; Pillow's own bound
  int max_scans = 100;                    // of a progressive JPEG file, each a pass over all pixels; programs write 10 to 25
};

// Decodes `bytes`, whose first bytes tell the format. Palettes become colours, grey becomes three equal channels, alpha is
// dropped, 16-bit colour keeps the upper byte, CMYK (Adobe's inverted kind) is converted; orientation tags are not applied:
// all as Pillow does. `name` is for messages. InvalidArgument: neither JPEG nor PNG, a truncated or damaged file, 16-bit
// grey. ResourceExhausted: beyond `limits` (the message names size and bound). What a file holds beside the picture (texts,
// profiles) is skipped. Any thread.
absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const std::string& name, const ImageLimits& limits = {});

// The same for a file. NotFound, PermissionDenied.
absl::StatusOr<Image> ReadImage(const std::string& path, const ImageLimits& limits = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_IMAGE_H_

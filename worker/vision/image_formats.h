// The decoders behind image.h; private to this folder.
#ifndef MERGANSER_WORKER_VISION_IMAGE_FORMATS_H_
#define MERGANSER_WORKER_VISION_IMAGE_FORMATS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/vision/image.h"

namespace merganser {

absl::StatusOr<Image> DecodeJpeg(absl::string_view bytes, const std::string& name, const ImageLimits& limits);
absl::StatusOr<Image> DecodePng(absl::string_view bytes, const std::string& name, const ImageLimits& limits);

// ResourceExhausted if width * height is beyond the limit; InvalidArgument if one of them is 0.
absl::Status CheckImageSize(int64_t width, int64_t height, const std::string& name, const ImageLimits& limits);

}  // namespace merganser

#endif  // MERGANSER_WORKER_VISION_IMAGE_FORMATS_H_

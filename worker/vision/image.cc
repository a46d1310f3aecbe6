#include "worker/vision/image.h"

#include <filesystem>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/vision/image_formats.h"

namespace merganser {
namespace {

constexpr absl::string_view kJpegStart("\xff\xd8\xff", 3);
constexpr absl::string_view kPngStart("\x89PNG\r\n\x1a\n", 8);

absl::Status CheckBytes(int64_t bytes, const std::string& name, const ImageLimits& limits) {
  if (bytes <= limits.max_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("'", name, "': an image file of ", bytes, " bytes; at most ", limits.max_bytes, " are read"));
}

}  // namespace

absl::Status CheckImageSize(int64_t width, int64_t height, const std::string& name, const ImageLimits& limits) {
  if (width <= 0 || height <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("'", name, "': an image of ", width, " x ", height, " pixels"));
  }
  if (width > limits.max_pixels / height) {
    return absl::ResourceExhaustedError(absl::StrCat("'", name, "': an image of ", width, " x ", height, " pixels; at most ",
                                                     limits.max_pixels, " in all are decoded"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const std::string& name, const ImageLimits& limits) {
  MG_RETURN_IF_ERROR(CheckBytes(static_cast<int64_t>(bytes.size()), name, limits));
  if (absl::StartsWith(bytes, kJpegStart)) return DecodeJpeg(bytes, name, limits);
  if (absl::StartsWith(bytes, kPngStart)) return DecodePng(bytes, name, limits);
  return absl::InvalidArgumentError(absl::StrCat("'", name, "' is neither a JPEG nor a PNG file"));
}

absl::StatusOr<Image> ReadImage(const std::string& path, const ImageLimits& limits) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!error) MG_RETURN_IF_ERROR(CheckBytes(static_cast<int64_t>(size), path, limits));
  MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  return DecodeImage(bytes, path, limits);
}

}  // namespace merganser

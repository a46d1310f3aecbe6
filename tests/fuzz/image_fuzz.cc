// Entry for libFuzzer and for the mutation driver: whatever the bytes of a picture's file, reading it ends in a picture
// within the limits, or in an error that names the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/match.h"
#include "worker/vision/image.h"

using namespace merganser;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ImageLimits limits{.max_bytes = 1 << 16, .max_pixels = 1 << 16, .max_scans = 20};
  const auto image = DecodeImage({reinterpret_cast<const char*>(data), size}, "fuzz.png", limits);
  if (!image.ok()) {
    if (!absl::StrContains(image.status().message(), "'fuzz.png'")) std::abort();
    return 0;
  }
  const int64_t pixels = int64_t{image->width} * image->height;
  if (pixels < 1 || pixels > limits.max_pixels || image->rgb.size() != static_cast<size_t>(3 * pixels)) std::abort();
  return 0;
}

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/vision/image_formats.h"

namespace merganser {
namespace {

struct Source {
  absl::string_view left;
  std::string error;
};

void Read(png_structp png, png_bytep out, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (source->left.size() < count) png_error(png, "the file ends too early");
  std::memcpy(out, source->left.data(), count);
  source->left.remove_prefix(count);
}

[[noreturn]] void Fail(png_structp png, png_const_charp message) {
  static_cast<Source*>(png_get_error_ptr(png))->error = message;
  png_longjmp(png, 1);
}

void Ignore(png_structp, png_const_charp) {}

// Nothing with a destructor may live between setjmp and the jump.
bool Decode(png_structp png, png_infop info, const std::string& name, const ImageLimits& limits, Image& image,
            std::vector<png_bytep>& rows, absl::Status& status) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  // All that is no part of the picture is skipped: a few KB of text chunks become megabytes each, a thousand times.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(png, info);
  const png_uint_32 width = png_get_image_width(png, info);
  const png_uint_32 height = png_get_image_height(png, info);
  status = CheckImageSize(width, height, name, limits);
  const int type = png_get_color_type(png, info);
  const bool grey = type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA;
  if (status.ok() && grey && png_get_bit_depth(png, info) == 16) {
    status = absl::InvalidArgumentError(absl::StrCat("'", name, "': 16-bit grey; convert it to 8 bits first"));
  }
  if (!status.ok()) return true;
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (grey) {
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
  }
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != size_t{3} * width) png_error(png, "an unexpected pixel format");
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.rgb.resize(size_t{3} * width * height);
  rows.resize(height);
  for (size_t y = 0; y < height; ++y) rows[y] = image.rgb.data() + size_t{3} * width * y;
  png_read_image(png, rows.data());
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

absl::StatusOr<Image> DecodePng(absl::string_view bytes, const std::string& name, const ImageLimits& limits) {
  Source source{bytes, ""};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, &Fail, &Ignore);
  if (png == nullptr) return absl::ResourceExhaustedError("libpng: no memory");
  png_infop info = png_create_info_struct(png);
  png_set_read_fn(png, &source, &Read);
  const auto bound = static_cast<png_uint_32>(std::min<int64_t>(limits.max_pixels, PNG_UINT_31_MAX));
  png_set_user_limits(png, bound, bound);
  Image image;
  std::vector<png_bytep> rows;
  absl::Status status;
  const bool decoded = Decode(png, info, name, limits, image, rows, status);
  png_destroy_read_struct(&png, &info, nullptr);
  if (!decoded) {
    return absl::InvalidArgumentError(absl::StrCat("'", name, "': a truncated or damaged PNG file: ", source.error));
  }
  MG_RETURN_IF_ERROR(status);
  return image;
}

}  // namespace merganser

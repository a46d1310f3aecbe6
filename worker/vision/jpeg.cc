#include <csetjmp>
#include <cstdio>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/vision/image_formats.h"

namespace merganser {
namespace {

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  int scans_max;
  bool too_many_scans;
};

// libjpeg knows no other way out than exit() or a jump.
[[noreturn]] void Fail(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  manager->base.format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

// A warning is damaged data (a truncated file ends in grey): an error here.
void Warn(j_common_ptr info, int level) {
  if (level < 0) Fail(info);
}

// Each scan passes over the whole picture, and takes a few bytes of the file.
void CheckScans(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= manager->scans_max) return;
  manager->too_many_scans = true;
  std::longjmp(manager->jump, 1);
}

// As Pillow does: files hold CMYK inverted, and black scales the rest.
void CmykToRgb(const uint8_t* row, int width, uint8_t* out) {
  for (int x = 0; x < width; ++x, row += 4, out += 3) {
    const int light = row[3];  // 255 - K
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - row[c]) * light + 128;
      out[c] = static_cast<uint8_t>(light - (((product >> 8) + product) >> 8));
    }
  }
}

// The object must outlive the jump, and nothing with a destructor may live between setjmp and the jump.
bool Decode(jpeg_decompress_struct& info, ErrorManager& manager, jpeg_progress_mgr& progress, absl::string_view bytes,
            const std::string& name, const ImageLimits& limits, Image& image, std::vector<uint8_t>& row,
            absl::Status& status) {
  if (setjmp(manager.jump) != 0) return false;
  jpeg_create_decompress(&info);
  info.progress = &progress;
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  status = CheckImageSize(info.image_width, info.image_height, name, limits);
  if (!status.ok()) return true;
  const bool cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  image.width = static_cast<int>(info.output_width);
  image.height = static_cast<int>(info.output_height);
  image.rgb.resize(size_t{3} * info.output_width * info.output_height);
  row.resize(cmyk ? size_t{4} * info.output_width : 0);
  while (info.output_scanline < info.output_height) {
    uint8_t* const out = image.rgb.data() + size_t{3} * info.output_width * info.output_scanline;
    JSAMPROW line = cmyk ? row.data() : out;
    jpeg_read_scanlines(&info, &line, 1);
    if (cmyk) CmykToRgb(row.data(), image.width, out);
  }
  jpeg_finish_decompress(&info);
  return true;
}

}  // namespace

absl::StatusOr<Image> DecodeJpeg(absl::string_view bytes, const std::string& name, const ImageLimits& limits) {
  ErrorManager manager = {};
  jpeg_decompress_struct info = {};
  info.err = jpeg_std_error(&manager.base);
  manager.base.error_exit = &Fail;
  manager.base.emit_message = &Warn;
  manager.scans_max = limits.max_scans;
  jpeg_progress_mgr progress = {};
  progress.progress_monitor = &CheckScans;
  Image image;
  std::vector<uint8_t> row;
  absl::Status status;
  const bool decoded = Decode(info, manager, progress, bytes, name, limits, image, row, status);
  jpeg_destroy_decompress(&info);
  if (manager.too_many_scans) {
    return absl::ResourceExhaustedError(
        absl::StrCat("'", name, "': a progressive JPEG file of more than ", limits.max_scans, " scans"));
  }
  if (!decoded) {
    return absl::InvalidArgumentError(absl::StrCat("'", name, "': a truncated or damaged JPEG file: ", manager.message));
  }
  MG_RETURN_IF_ERROR(status);
  return image;
}

}  // namespace merganser

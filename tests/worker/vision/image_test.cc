#include "worker/vision/image.h"

#include <sys/resource.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/vision/testing.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

// A grey picture of 8 x 8 pixels as a progressive JPEG file with a scan or two of its own for each coefficient: 64 or 127.
std::string ManyScans(bool refined) {
  std::vector<jpeg_scan_info> scans = {{1, {0}, 0, 0, 0, 0}};
  for (int k = 1; k < 64; ++k) {
    scans.push_back({1, {0}, k, k, 0, refined ? 1 : 0});
    if (refined) scans.push_back({1, {0}, k, k, 1, 0});
  }
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;  // libjpeg's type
  jpeg_mem_dest(&info, &out, &size);
  info.image_width = info.image_height = 8;
  info.input_components = 1;
  info.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  info.scan_info = scans.data();
  info.num_scans = static_cast<int>(scans.size());
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < 8; ++y) {
    JSAMPLE row[8] = {0, 200, 30, static_cast<JSAMPLE>(y * 30), 90, 250, 10, 60};
    JSAMPROW rows[] = {row};
    jpeg_write_scanlines(&info, rows, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<char*>(out), size);
  jpeg_destroy_compress(&info);
  std::free(out);
  return file;
}

std::string BigEndian(uint32_t number) {
  return {static_cast<char>(number >> 24), static_cast<char>(number >> 16), static_cast<char>(number >> 8),
          static_cast<char>(number)};
}

// A PNG chunk of text that is a thousand times as large as it looks.
std::string TextBomb() {
  const std::string text(7'900'000, 'a');
  uLongf size = compressBound(text.size());
  std::string packed(size, 0);
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  packed.resize(size);
  const std::string body = "zTXt" + std::string("Comment\0\0", 9) + packed;
  return BigEndian(static_cast<uint32_t>(body.size() - 4)) + body +
         BigEndian(static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(body.data()), body.size())));
}

// The most memory that this process has held, in MiB.
int64_t PeakMib() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss >> 10;
}

TEST(ImageTest, EveryKindOfFileDecodesAsPillowDoes) {
  for (const auto& [name, golden] : ImageGoldens().items()) {
    SCOPED_TRACE(name);
    const auto image = ReadImage(VisionData("images/" + name));
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, golden["width"]);
    EXPECT_EQ(image->height, golden["height"]);
    EXPECT_EQ(Sha256Hex({reinterpret_cast<const char*>(image->rgb.data()), image->rgb.size()}), golden["rgb"]);
  }
}

TEST(ImageTest, TruncatedFilesAreRefusedAtEveryLength) {
  for (const std::string name :
       {"images/rocket.jpg", "images/grey.jpg", "images/cmyk.jpg", "images/palette_color.png", "images/one_bit.png"}) {
    const std::string bytes = ReadFile(VisionData(name)).value();
    for (const double share : {0.0, 0.01, 0.1, 0.5, 0.9, 0.97}) {
      const auto image = DecodeImage(absl::string_view(bytes).substr(0, static_cast<size_t>(bytes.size() * share)), name);
      EXPECT_TRUE(absl::IsInvalidArgument(image.status())) << name << " at " << share << ": " << image.status();
      EXPECT_THAT(image.status().message(), HasSubstr(name));
    }
  }
  const auto truncated = ReadImage(VisionData("images/truncated.jpg"));
  EXPECT_THAT(truncated.status().message(), HasSubstr("truncated or damaged JPEG"));
}

TEST(ImageTest, DamagedBytesNeverCrash) {
  for (const std::string name :
       {"images/grey.jpg", "images/progressive.jpg", "images/grey_alpha.png", "images/palette_gray.png"}) {
    const std::string bytes = ReadFile(VisionData(name)).value();
    for (size_t i = 0; i < bytes.size(); i += 7) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x5a);
      DecodeImage(damaged, name, {.max_pixels = 1 << 20}).IgnoreError();
    }
  }
}

TEST(ImageTest, SizesBeyondTheLimitsAreRefusedBeforeMemoryIsTaken) {
  const auto pixels = ReadImage(VisionData("images/rocket.jpg"), {.max_pixels = 640 * 427 - 1});
  EXPECT_TRUE(absl::IsResourceExhausted(pixels.status()));
  EXPECT_THAT(pixels.status().message(), HasSubstr("640 x 427"));
  const auto bytes = ReadImage(VisionData("images/rocket.jpg"), {.max_bytes = 100});
  EXPECT_TRUE(absl::IsResourceExhausted(bytes.status()));
  EXPECT_THAT(bytes.status().message(), HasSubstr("at most 100"));
  // A PNG header that asks for 2^31-1 squared pixels.
  std::string bomb = ReadFile(VisionData("images/palette_gray.png")).value();
  for (const int i : {16, 20}) bomb.replace(i, 4, std::string("\x7f\xff\xff\xff", 4));
  EXPECT_FALSE(DecodeImage(bomb, "bomb.png").ok());
}

TEST(ImageTest, AProgressiveFileOfManyScansIsRefused) {
  EXPECT_TRUE(DecodeImage(ManyScans(/*refined=*/false), "many.jpg").ok());
  const auto bomb = DecodeImage(ManyScans(/*refined=*/true), "bomb.jpg");
  EXPECT_TRUE(absl::IsResourceExhausted(bomb.status()));
  EXPECT_THAT(bomb.status().message(), HasSubstr("'bomb.jpg': a progressive JPEG file of more than 100 scans"));
}

TEST(ImageTest, WhatIsNoPictureInAPngFileTakesNoMemory) {
  const std::string plain = ReadFile(VisionData("images/palette_gray.png")).value();
  const std::string text = TextBomb();
  std::string bomb = plain.substr(0, 33);  // up to the end of IHDR
  for (int i = 0; i < 100; ++i) bomb += text;
  bomb += plain.substr(33);
  const auto expected = DecodeImage(plain, "plain.png");
  ASSERT_TRUE(expected.ok()) << expected.status();
  const int64_t before = PeakMib();
  const auto image = DecodeImage(bomb, "bomb.png");
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->rgb, expected->rgb);
  EXPECT_LT(PeakMib() - before, 64);  // and not 800
}

TEST(ImageTest, OtherFormatsAreRefusedByName) {
  EXPECT_THAT(DecodeImage("GIF89a....", "x.gif").status().message(), HasSubstr("'x.gif' is neither a JPEG nor a PNG"));
  EXPECT_THAT(ReadImage(VisionData("images/grey16.png")).status().message(), HasSubstr("16-bit grey"));
  EXPECT_TRUE(absl::IsNotFound(ReadImage("no/such.png").status()));
}

}  // namespace
}  // namespace merganser

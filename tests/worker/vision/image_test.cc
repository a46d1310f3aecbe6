#include "worker/vision/image.h"

#include <fstream>

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
  for (const std::string name : {"images/rocket.jpg", "images/grey.jpg", "images/cmyk.jpg", "images/palette_color.png", "images/one_bit.png"}) {
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
  for (const std::string name : {"images/grey.jpg", "images/progressive.jpg", "images/grey_alpha.png", "images/palette_gray.png"}) {
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

TEST(ImageTest, OtherFormatsAreRefusedByName) {
  EXPECT_THAT(DecodeImage("GIF89a....", "x.gif").status().message(), HasSubstr("'x.gif' is neither a JPEG nor a PNG"));
  EXPECT_THAT(ReadImage(VisionData("images/grey16.png")).status().message(), HasSubstr("16-bit grey"));
  EXPECT_TRUE(absl::IsNotFound(ReadImage("no/such.png").status()));
}

}  // namespace
}  // namespace merganser

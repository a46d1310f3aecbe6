#include "worker/vision/image_processor.h"

#include <cmath>

#include "absl/status/status.h"
#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/vision/testing.h"

namespace merganser {
namespace {

const std::vector<Resolution> kPinpoints = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};

// The 8-bit levels that normalized values were made of.
std::string Levels(const PixelValues& pixels, const ImageProcessorConfig& config) {
  std::string levels(pixels.values.size(), 0);
  const size_t plane = static_cast<size_t>(pixels.height) * pixels.width;
  for (size_t i = 0; i < pixels.values.size(); ++i) {
    const int channel = static_cast<int>(i / plane % 3);
    levels[i] = static_cast<char>(std::lround((pixels.values[i] * config.std[channel] + config.mean[channel]) * 255));
  }
  return levels;
}

TEST(ImageProcessorTest, ClipPixelsAreThoseOfTransformers) {
  ImageProcessorConfig config;
  for (const auto& [name, golden] : ImageGoldens().items()) {
    SCOPED_TRACE(name);
    const auto image = ReadImage(VisionData("images/" + name));
    ASSERT_TRUE(image.ok()) << image.status();
    const auto pixels = ProcessImage(*image, config);
    ASSERT_TRUE(pixels.ok()) << pixels.status();
    EXPECT_EQ(pixels->tiles, 1);
    EXPECT_EQ(pixels->height, 336);
    EXPECT_EQ(Sha256Hex(Levels(*pixels, config)), golden["clip"]);
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR(pixels->values[c * 336 * 336], golden["clip_first"][c].get<double>(), 1e-6);
    }
  }
}

TEST(ImageProcessorTest, SquaresPaddedWithTheMeanColourAreThoseOfTransformers) {
  ImageProcessorConfig config;
  config.pad_to_square = true;
  for (const auto& [name, golden] : ImageGoldens().items()) {
    SCOPED_TRACE(name);
    const auto image = ReadImage(VisionData("images/" + name));
    ASSERT_TRUE(image.ok()) << image.status();
    const auto pixels = ProcessImage(*image, config);
    ASSERT_TRUE(pixels.ok()) << pixels.status();
    EXPECT_EQ(Sha256Hex(Levels(*pixels, config)), golden["padded"]);
  }
}

TEST(ImageProcessorTest, TilesAreThoseOfTransformers) {
  ImageProcessorConfig config;
  config.next = true;
  config.pinpoints = kPinpoints;
  for (const auto& [name, golden] : ImageGoldens().items()) {
    SCOPED_TRACE(name);
    const auto image = ReadImage(VisionData("images/" + name));
    ASSERT_TRUE(image.ok()) << image.status();
    const auto pixels = ProcessImage(*image, config);
    ASSERT_TRUE(pixels.ok()) << pixels.status();
    EXPECT_EQ(pixels->tiles, golden["tiles"]);
    EXPECT_EQ(Sha256Hex(Levels(*pixels, config)), golden["anyres"]);
  }
}

TEST(ImageProcessorTest, TheBestResolutionKeepsMostAndWastesLeast) {
  EXPECT_EQ(SelectBestResolution({512, 512}, kPinpoints), (Resolution{672, 672}));
  EXPECT_EQ(SelectBestResolution({300, 900}, kPinpoints), (Resolution{336, 1008}));
  EXPECT_EQ(SelectBestResolution({100, 100}, kPinpoints), (Resolution{336, 672}));  // the first of equals
}

TEST(ImageProcessorTest, AThinPictureIsRefusedBeforeItGrows) {
  const Image line{1'000'000, 1, std::vector<uint8_t>(3'000'000)};
  ImageProcessorConfig config;
  const auto cropped = ProcessImage(line, config);
  EXPECT_TRUE(absl::IsResourceExhausted(cropped.status()));
  EXPECT_THAT(cropped.status().message(), testing::HasSubstr("1000000 x 1 pixels would become one of 336000000 x 336"));
  config.pad_to_square = true;
  EXPECT_THAT(ProcessImage(line, config).status().message(), testing::HasSubstr("one of 1000000 x 1000000 "));
  const Image wide{1000, 1, std::vector<uint8_t>(3000)};
  EXPECT_TRUE(ProcessImage(wide, config).ok());
  config = {};
  EXPECT_TRUE(ProcessImage(wide, config).ok());
  config.next = true;
  config.pinpoints = kPinpoints;
  EXPECT_TRUE(ProcessImage(line, config).ok());  // squeezed into tiles
}

TEST(ImageProcessorTest, TilesThatDoNotDivideAreRefused) {
  ImageProcessorConfig config;
  config.next = true;
  config.pinpoints = {{336, 500}};
  const auto pixels = ProcessImage({2, 2, std::vector<uint8_t>(12)}, config);
  EXPECT_THAT(pixels.status().message(), testing::HasSubstr("336 x 500 cannot be cut into tiles of 336"));
}

}  // namespace
}  // namespace merganser

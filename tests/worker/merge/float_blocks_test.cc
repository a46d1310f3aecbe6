#include "worker/merge/float_blocks.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/rng.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

// Half precision by its definition, in fp64.
double HalfValue(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

TEST(FloatBlocksTest, EveryFiniteHalfLoadsExactlyAndStoresBack) {
  std::vector<uint16_t> halves;
  for (uint32_t h = 0; h < 65536; ++h) {
    if ((h & 0x7c00) != 0x7c00) halves.push_back(static_cast<uint16_t>(h));
  }
  const int64_t n = static_cast<int64_t>(halves.size());
  const FloatTensor tensor{DType::kF16, reinterpret_cast<const std::byte*>(halves.data()), n};
  std::vector<float> values(n);
  LoadBlock(tensor, 0, n, values.data());
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(values[i], HalfValue(halves[i])) << halves[i];
  std::vector<uint16_t> back(n);
  EXPECT_TRUE(StoreBlock(DType::kF16, values.data(), n, reinterpret_cast<std::byte*>(back.data())));
  EXPECT_EQ(back, halves);
}

TEST(FloatBlocksTest, HalfRoundsToNearestEven) {
  // Midpoints between neighbours, and their float neighbours on both sides, over subnormals and
  // normals.
  for (uint32_t h = 0; h < 0x7bff; h += 13) {
    const double low = HalfValue(static_cast<uint16_t>(h)), high = HalfValue(static_cast<uint16_t>(h + 1));
    const float middle = static_cast<float>((low + high) / 2);
    const float in[3] = {middle, std::nextafter(middle, -1.0f), std::nextafter(middle, 1e9f)};
    uint16_t out[3];
    StoreBlock(DType::kF16, in, 3, reinterpret_cast<std::byte*>(out));
    ASSERT_EQ(out[0], h % 2 == 0 ? h : h + 1);
    ASSERT_EQ(out[1], h);
    ASSERT_EQ(out[2], h + 1);
  }
}

TEST(FloatBlocksTest, BFloat16RoundsToNearestEven) {
  const float in[] = {std::bit_cast<float>(0x3f808000u), std::bit_cast<float>(0x3f818000u),
                      std::bit_cast<float>(0x3f808001u), std::bit_cast<float>(0xbf807fffu)};
  uint16_t out[4];
  EXPECT_TRUE(StoreBlock(DType::kBF16, in, 4, reinterpret_cast<std::byte*>(out)));
  EXPECT_EQ(out[0], 0x3f80);
  EXPECT_EQ(out[1], 0x3f82);
  EXPECT_EQ(out[2], 0x3f81);
  EXPECT_EQ(out[3], 0xbf80);
}

TEST(FloatBlocksTest, ValuesBeyondTheTypesRangeAreReported) {
  const float large_for_half[] = {1, 65520};  // halfway above the largest half, 65504
  const float fits_half[] = {1, 65519.996f};
  const float large_for_bf16[] = {3.4e38f, 1};
  const float nan[] = {std::numeric_limits<float>::quiet_NaN()};
  std::byte out[8];
  EXPECT_FALSE(StoreBlock(DType::kF16, large_for_half, 2, out));
  EXPECT_TRUE(StoreBlock(DType::kF16, fits_half, 2, out));
  EXPECT_FALSE(StoreBlock(DType::kBF16, large_for_bf16, 2, out));
  EXPECT_TRUE(StoreBlock(DType::kF32, large_for_bf16, 2, out));
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) EXPECT_FALSE(StoreBlock(dtype, nan, 1, out));
}

TEST(FloatBlocksTest, DoublesAreRoundedAndMisalignedDataIsRead) {
  const double value = 0.1;
  std::vector<std::byte> bytes(17);
  std::memcpy(bytes.data() + 1, &value, 8);
  std::memcpy(bytes.data() + 9, &value, 8);
  float out[2];
  LoadBlock({DType::kF64, bytes.data() + 1, 2}, 0, 2, out);
  EXPECT_EQ(out[1], 0.1f);
}

TEST(FloatBlocksTest, FirstNonFiniteNamesTheIndex) {
  std::vector<float> values(1000, 1.0f);
  const FloatTensor tensor{DType::kF32, reinterpret_cast<const std::byte*>(values.data()), 1000};
  EXPECT_EQ(FirstNonFinite(tensor, 0, 1000), -1);
  values[777] = -std::numeric_limits<float>::infinity();
  values[900] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(FirstNonFinite(tensor, 0, 1000), 777);
  EXPECT_EQ(FirstNonFinite(tensor, 778, 222), 900);
  EXPECT_EQ(FirstNonFinite(tensor, 0, 777), -1);
}

}  // namespace
}  // namespace merganser

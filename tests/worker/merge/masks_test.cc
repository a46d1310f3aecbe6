#include "worker/merge/masks.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "common/base/rng.h"
#include "gtest/gtest.h"
#include "worker/merge/block_math.h"

namespace merganser {
namespace {

TEST(MaskStreamTest, WordsAreThoseOfPhiloxAtTheirPosition) {
  const MaskStream stream = MaskStream::For(5, "ja", "model.norm.weight");
  std::vector<uint32_t> words(256);
  // Across a carry into the counter's upper half.
  for (const int64_t first : {int64_t{0}, int64_t{64}, (int64_t{4} << 32) - 64}) {
    stream.Fill(first, 200, words.data());
    for (int64_t i = 0; i < 200; ++i) {
      ASSERT_EQ(words[i], Philox4x32(stream.key, (first + i) / 4, stream.counter_high)[i % 4]) << first + i;
    }
  }
}

TEST(MaskStreamTest, BitsSayWhichWordsAreAtMostTheLimit) {
  const MaskStream stream = MaskStream::For(5, "ja", "model.norm.weight");
  std::vector<uint32_t> words(1024);
  std::vector<uint8_t> bits(128);
  for (const uint32_t limit : {0u, 0x7fffffffu, 0x80000000u, 0xc0000000u, 0xffffffffu}) {
    for (const int64_t first : {int64_t{0}, (int64_t{4} << 32) - 512}) {
      stream.Fill(first, 1024, words.data());
      stream.FillBits(first, 1000, limit, bits.data());
      for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(bits[i / 8] >> (i % 8) & 1, words[i] <= limit ? 1 : 0) << i;
    }
  }
}

TEST(MaskBitsTest, MaskedSumsAreThoseOfTheMaskedValues) {
  constexpr int64_t kCount = 1003;
  std::vector<float> x(kCount), base(kCount);
  std::vector<uint8_t> bits(kCount / 8 + 1);
  for (int64_t i = 0; i < kCount; ++i) {
    x[i] = std::sin(static_cast<float>(i));
    base[i] = std::cos(static_cast<float>(3 * i));
    bits[i / 8] = static_cast<uint8_t>(i * 37);
  }
  L1Lanes whole{1, 2}, kept{3, 4}, want_whole = whole, want_kept = kept;
  AddMaskedL1(x.data(), base.data(), bits.data(), kCount, whole, kept);
  Subtract(base.data(), kCount, x.data());
  AddL1(x.data(), kCount, want_whole);
  KeepBits(bits.data(), kCount, x.data());
  AddL1(x.data(), kCount, want_kept);
  EXPECT_EQ(whole, want_whole);
  EXPECT_EQ(kept, want_kept);
}

TEST(MaskBitsTest, KeepMaskAndRankElementByElement) {
  constexpr int64_t kCount = 1003;  // not whole eights
  std::vector<uint32_t> words(1024), ranks(1024);
  std::vector<uint8_t> bits(128);
  std::vector<float> x(kCount), base(kCount, 0.25f);
  MaskStream::For(5, "ja", "a").Fill(0, 1024, words.data());
  for (int64_t i = 0; i < 1024; ++i) ranks[i] = static_cast<uint32_t>(i * 37 % 1024);
  for (int64_t i = 0; i < kCount; ++i) x[i] = static_cast<float>(words[i]) - 2e9f;
  const RankedMask mask = RankedMask::For(0.5, 0.3, 1024, false);
  FillRankedBits(words.data(), ranks.data(), mask, kCount, bits.data());
  std::vector<float> kept = x, difference = x;
  KeepBits(bits.data(), kCount, kept.data());
  MaskedDifference(base.data(), bits.data(), 1.5f, -0.3f, kCount, difference.data());
  for (int64_t i = 0; i < kCount; ++i) {
    const bool keep = static_cast<float>(words[i] >> 8) * 0x1p-24f < mask.Probability(ranks[i]);
    ASSERT_EQ(bits[i / 8] >> (i % 8) & 1, keep ? 1 : 0) << i;
    ASSERT_EQ(kept[i], keep ? x[i] : 0) << i;
    ASSERT_EQ(difference[i], (keep ? x[i] - base[i] : 0.0f) * 1.5f * -0.3f) << i;
  }
  // Bits may take the place of their words.
  std::vector<uint32_t> again = words;
  FillRankedBits(again.data(), ranks.data(), mask, kCount, reinterpret_cast<uint8_t*>(again.data()));
  EXPECT_EQ(std::memcmp(again.data(), bits.data(), kCount / 8), 0);
}

TEST(MaskStreamTest, SeedModelAndTensorEachGiveAnotherStream) {
  const MaskStream stream = MaskStream::For(5, "ja", "a");
  std::vector<uint32_t> words(256), others(256);
  stream.Fill(0, 64, words.data());
  for (const MaskStream& other :
       {MaskStream::For(6, "ja", "a"), MaskStream::For(5, "en", "a"), MaskStream::For(5, "ja", "b")}) {
    other.Fill(0, 64, others.data());
    EXPECT_NE(words, others);
  }
}

TEST(MaskRuleTest, KeepsTheDensityWithinThreeSigma) {
  constexpr int64_t kCount = 1 << 18;
  std::vector<uint32_t> words(kCount);
  MaskStream::For(5, "ja", "a").Fill(0, kCount, words.data());
  for (const double density : {0.01, 0.3, 0.5, 0.97}) {
    const MaskRule rule = MaskRule::For(density);
    int64_t kept = 0;
    for (const uint32_t word : words) kept += word <= rule.limit;
    const double sigma = std::sqrt(density * (1 - density) / kCount);
    EXPECT_NEAR(static_cast<double>(kept) / kCount, density, 3 * sigma);
  }
}

TEST(MaskRuleTest, TheEndsKeepEverythingAndNothing) {
  EXPECT_EQ(MaskRule::For(1).kind, MaskRule::Kind::kAll);
  EXPECT_EQ(MaskRule::For(0).kind, MaskRule::Kind::kNone);
  EXPECT_EQ(MaskRule::For(0x1p-33).kind, MaskRule::Kind::kNone);
  EXPECT_EQ(MaskRule::For(0x1p-32).limit, 0u);
}

}  // namespace
}  // namespace merganser

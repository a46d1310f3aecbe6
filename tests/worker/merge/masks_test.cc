#include "worker/merge/masks.h"

#include <cmath>
#include <vector>

#include "common/base/rng.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(MaskStreamTest, WordsAreThoseOfPhiloxAtTheirPosition) {
  const MaskStream stream = MaskStream::For(5, "ja", "model.norm.weight");
  std::vector<uint32_t> words(256);
  // Across a carry into the counter's upper half.
  for (const int64_t first : {int64_t{0}, int64_t{64}, (int64_t{4} << 32) - 64}) {
    stream.Fill(first, 200, words.data());
    for (int64_t i = 0; i < 200; ++i) {
      ASSERT_EQ(words[i], Philox4x32(stream.key, (first + i) / 4, stream.counter_high)[i % 4])
          << first + i;
    }
  }
}

TEST(MaskStreamTest, SeedModelAndTensorEachGiveAnotherStream) {
  const MaskStream stream = MaskStream::For(5, "ja", "a");
  std::vector<uint32_t> words(256), others(256);
  stream.Fill(0, 64, words.data());
  for (const MaskStream& other : {MaskStream::For(6, "ja", "a"), MaskStream::For(5, "en", "a"),
                                  MaskStream::For(5, "ja", "b")}) {
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

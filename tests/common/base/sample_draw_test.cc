#include "common/base/sample_draw.h"

#include <set>

#include "gtest/gtest.h"

namespace merganser {
namespace {

TEST(SampleDrawTest, ADrawIsTheSameEverywhereAndDrawsDiffer) {
  const std::vector<int64_t> first = DrawSamples(7, "ja_math", 0, 50, 200);
  EXPECT_EQ(first.size(), 50u);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 50u);
  EXPECT_EQ(first, DrawSamples(7, "ja_math", 0, 50, 200));
  EXPECT_NE(first, DrawSamples(7, "ja_math", 1, 50, 200));
  EXPECT_NE(first, DrawSamples(8, "ja_math", 0, 50, 200));
  EXPECT_NE(first, DrawSamples(7, "other", 0, 50, 200));
}

TEST(SampleDrawTest, AnEpochOfDrawsUsesEverySampleOnce) {
  for (const int64_t epoch : {0, 1}) {
    std::set<int64_t> seen;
    for (int64_t draw = 0; draw < 4; ++draw) {
      for (const int64_t sample : DrawSamples(7, "b", epoch * 4 + draw, 50, 200)) seen.insert(sample);
    }
    EXPECT_EQ(seen.size(), 200u);
    EXPECT_EQ(*seen.rbegin(), 199);
  }
}

TEST(SampleDrawTest, MoreThanThereAreIsAll) {
  EXPECT_EQ(DrawSamples(7, "b", 3, 10, 4), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_TRUE(DrawSamples(7, "b", 3, 10, 0).empty());
}

TEST(SampleDrawTest, NamesCarryTheDraw) {
  EXPECT_EQ(SampledBenchmark("ja_math", 7), "ja_math@7");
  EXPECT_EQ(ParseSampledBenchmark("ja_math@7"), std::make_pair(std::string("ja_math"), std::optional<int64_t>(7)));
  EXPECT_EQ(ParseSampledBenchmark("ja_math"), std::make_pair(std::string("ja_math"), std::optional<int64_t>()));
}

}  // namespace
}  // namespace merganser

#include "common/base/sample_draw.h"

#include <algorithm>
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
  EXPECT_EQ(ParseBenchmarkRequest("ja_math@7").benchmark, "ja_math");
  EXPECT_EQ(ParseBenchmarkRequest("ja_math@7").draw, 7);
  EXPECT_EQ(ParseBenchmarkRequest("ja_math").benchmark, "ja_math");
  EXPECT_EQ(ParseBenchmarkRequest("ja_math").draw, std::nullopt);
  EXPECT_EQ(ParseBenchmarkRequest("ja_math").samples, std::nullopt);
}

TEST(SampleDrawTest, NamesCarryAList) {
  EXPECT_EQ(ListedBenchmark("ja_math", {0, 3, 4, 5, 9}), "ja_math[0,3-5,9]");
  EXPECT_EQ(ParseBenchmarkRequest("ja_math[0,3-5,9]").benchmark, "ja_math");
  EXPECT_EQ(ParseBenchmarkRequest("ja_math[0,3-5,9]").samples, (std::vector<int64_t>{0, 3, 4, 5, 9}));
  for (int64_t draw = 0; draw < 20; ++draw) {
    const std::vector<int64_t> samples = DrawSamples(7, "b", draw, 40, 200);
    EXPECT_EQ(ParseBenchmarkRequest(ListedBenchmark("b", samples)).samples, samples);
  }
  for (const char* name : {"b[3,1]", "b[1,1]", "b[-1]", "b[2-1]", "b[x]", "b[1-x]", "b]", "b[0-9999999999]", "b@x", "b@"}) {
    EXPECT_EQ(ParseBenchmarkRequest(name).benchmark, name) << "no list, so a name";
    EXPECT_EQ(ParseBenchmarkRequest(name).samples, std::nullopt);
  }
}

TEST(SampleDrawTest, ARequestIsAListADrawOrAll) {
  EXPECT_EQ(RequestedSamples(ParseBenchmarkRequest("b[1,4]"), 7, 2, 5), (std::vector<int64_t>{1, 4}));
  EXPECT_EQ(RequestedSamples(ParseBenchmarkRequest("b@3"), 7, 2, 5), DrawSamples(7, "b", 3, 2, 5));
  EXPECT_EQ(RequestedSamples(ParseBenchmarkRequest("b"), 7, 2, 5), (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(SampleDrawTest, ARaceHasAnOrderOfItsOwnInEachRound) {
  const std::vector<int64_t> samples = DrawSamples(7, "b", 3, 40, 200);
  std::vector<int64_t> first = ShuffledSamples(samples, 7, "b", 0);
  EXPECT_EQ(first, ShuffledSamples(samples, 7, "b", 0));
  EXPECT_NE(first, ShuffledSamples(samples, 7, "b", 1));
  EXPECT_NE(first, ShuffledSamples(samples, 8, "b", 0));
  EXPECT_NE(first, samples);
  std::sort(first.begin(), first.end());
  EXPECT_EQ(first, samples);
}

}  // namespace
}  // namespace merganser

#include "common/domain/sample_scores.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;

TEST(BitmapTest, HoldsNumbers) {
  Bitmap bits;
  for (const int64_t i : {9, 0, 64}) bits.Set(i);
  EXPECT_THAT(bits.Numbers(), ElementsAre(0, 9, 64));
  EXPECT_EQ(bits.Count(), 3);
  EXPECT_TRUE(bits.Has(64));
  for (const int64_t i : {int64_t{1}, int64_t{63}, int64_t{65}, int64_t{1} << 40, int64_t{-1}}) EXPECT_FALSE(bits.Has(i));
  EXPECT_EQ(Bitmap(bits.bytes()), bits);
  EXPECT_EQ(Bitmap(bits.bytes() + std::string(5, 0)), bits) << "equal sets are equal values";
}

TEST(SampleScoresTest, OutcomesAreBitsAndOthersNumbers) {
  SampleScores scores;
  scores.Add("acc", {2, 5, 7}, {1, 0, 1});
  scores.Add("rouge", {2, 5, 7}, {0.5, 0, 0.25});
  EXPECT_TRUE(scores.metrics.at("acc").values.empty());
  EXPECT_EQ(scores.metrics.at("rouge").Of(7), 0.25);
  EXPECT_DOUBLE_EQ(scores.Mean("acc", {2, 5, 7}), 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.Mean("rouge", {2, 7}), 0.375);
  EXPECT_TRUE(scores.Covers({2, 7}));
  EXPECT_FALSE(scores.Covers({2, 3}));
}

TEST(SampleScoresTest, WhatIsKnownGrows) {
  SampleScores scores, more, other;
  scores.Add("acc", {2, 5}, {1, 0});
  scores.Add("rouge", {2, 5}, {1, 0});  // bits so far
  more.Add("acc", {1, 9}, {1, 1});
  more.Add("rouge", {1, 9}, {0.5, 1});
  SampleScores all = scores;
  all.Merge(more);
  EXPECT_THAT(all.scored.Numbers(), ElementsAre(1, 2, 5, 9));
  EXPECT_DOUBLE_EQ(all.Mean("acc", {1, 2, 5, 9}), 0.75);
  EXPECT_DOUBLE_EQ(all.Mean("rouge", {1, 2, 5, 9}), 2.5 / 4);
  SampleScores turned = more;
  turned.Merge(scores);
  EXPECT_DOUBLE_EQ(turned.Mean("rouge", {1, 2, 5, 9}), 2.5 / 4);
  SampleScores none;
  none.Merge(all);
  EXPECT_EQ(none, all);
  other.Add("acc", {3}, {1});
  all.Merge(other);
  EXPECT_FALSE(all.Has("rouge")) << "of sample 3 it is not known";
  EXPECT_TRUE(all.Covers({1, 3}));
  EXPECT_GT(all.Bytes(), 0);
}

}  // namespace
}  // namespace merganser

#include "client/score_table.h"

#include "gtest/gtest.h"

namespace merganser {
namespace {

Score Between(double value, double low, double high) { return {.value = value, .interval = std::pair(low, high)}; }

TEST(IntervalTextTest, OfAPercentageIsCutWhereItsValuesEnd) {
  EXPECT_EQ(IntervalText("rougeL_ja", Between(0.98, 0.95, 1.01)), "95.0 % to 100.0 %");
  EXPECT_EQ(IntervalText("rouge2", Between(0.01, -0.01, 0.03)), "0.0 % to 3.0 %");
  EXPECT_EQ(IntervalText("acc", {.value = 0.5}), "-");
}

TEST(IntervalTextTest, ACorrelationAnAverageAndAProgramsNumberMayBeBelowZero) {
  EXPECT_EQ(IntervalText("mcc", Between(0.1, -0.1, 0.3)), "-10.0 % to 30.0 %");
  EXPECT_EQ(IntervalText("average", Between(-0.9, -1.2, -0.6)), "-100.0 % to -60.0 %");
  EXPECT_EQ(IntervalText("gain", Between(0.1, -0.1, 0.3), /*may_be_negative=*/true), "-10.0 % to 30.0 %");
}

TEST(IntervalTextTest, OfAnotherNumberIsAsItIs) {
  EXPECT_EQ(IntervalText("bleu", Between(0.5, -0.5, 1.5)), "-0.5000 to 1.5000");
  EXPECT_EQ(IntervalText("perplexity", Between(1.5, 0.5, 2.5)), "0.5000 to 2.5000");
}

}  // namespace
}  // namespace merganser

#include "worker/benchmark/wilson.h"

#include <gtest/gtest.h>

namespace merganser {
namespace {

// Golden: the formula of Wilson 1927 in another language, z = 1.959963984540054.
TEST(WilsonInterval, KnownValues) {
  const auto half = WilsonInterval(10, 20);
  EXPECT_NEAR(half.low, 0.299298, 1e-6);
  EXPECT_NEAR(half.high, 0.700702, 1e-6);
  const auto none = WilsonInterval(0, 10);
  EXPECT_NEAR(none.low, 0, 1e-12);
  EXPECT_NEAR(none.high, 0.277533, 1e-6);
  const auto all = WilsonInterval(250, 250);
  EXPECT_NEAR(all.low, 0.984866, 1e-6);
  EXPECT_NEAR(all.high, 1, 1e-12);
}

TEST(WilsonInterval, HoldsTheShareAndNarrowsWithN) {
  for (int n = 1; n <= 64; n *= 2) {
    for (int k = 0; k <= n; ++k) {
      const auto i = WilsonInterval(k, n);
      EXPECT_LE(0, i.low);
      EXPECT_LE(i.low, double(k) / n + 1e-12);
      EXPECT_GE(i.high, double(k) / n - 1e-12);
      EXPECT_LE(i.high, 1);
      const auto more = WilsonInterval(2 * k, 2 * n);
      EXPECT_LT(more.high - more.low, i.high - i.low);
    }
  }
}

TEST(WilsonInterval, NoSamplesSayNothing) {
  EXPECT_EQ(WilsonInterval(0, 0).low, 0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

}  // namespace
}  // namespace merganser

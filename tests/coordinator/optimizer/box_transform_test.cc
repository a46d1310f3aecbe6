#include "coordinator/optimizer/box_transform.h"

#include <gtest/gtest.h>

#include <cmath>

namespace merganser {
namespace {

TEST(BoxTransform, IsTheIdentityAwayFromTheEdges) {
  for (const double x : {0.05, 0.2, 0.5, 0.95}) {
    EXPECT_NEAR(PointToGene(x), x, 1e-15);
    EXPECT_EQ(GeneToPoint(x), x);
  }
}

TEST(BoxTransform, ReachesTheEdgesAtTheMarginAndIsMirroredThere) {
  EXPECT_NEAR(PointToGene(-kBoxMargin), 0, 1e-15);
  EXPECT_NEAR(PointToGene(1 + kBoxMargin), 1, 1e-15);
  EXPECT_NEAR(PointToGene(0), 0.0125,
              1e-15);  // (x + a)^2 / 4a, as pycma's BoundTransform with a = 0.05
  EXPECT_NEAR(PointToGene(1), 0.9875, 1e-15);
  for (const double d : {0.01, 0.05, 0.3, 0.9}) {
    EXPECT_NEAR(PointToGene(-kBoxMargin - d), PointToGene(-kBoxMargin + d), 1e-14);
    EXPECT_NEAR(PointToGene(1 + kBoxMargin + d), PointToGene(1 + kBoxMargin - d), 1e-14);
    EXPECT_NEAR(PointToGene(d + 2.2), PointToGene(d), 1e-14);  // period 2 (1 + 2a)
  }
}

TEST(BoxTransform, StaysInTheBoxAndHasNoJump) {
  for (double x = -7; x < 7; x += 0.001) {
    const double gene = PointToGene(x);
    ASSERT_TRUE(gene >= 0 && gene <= 1) << x;
    ASSERT_LT(std::abs(PointToGene(x + 0.001) - gene), 0.00101) << x;
  }
  for (const double x : {1e18, -1e100, 1e-300}) EXPECT_TRUE(PointToGene(x) >= 0 && PointToGene(x) <= 1);
}

TEST(BoxTransform, EveryGeneHasItsPoint) {
  for (int i = 0; i <= 1000; ++i) {
    const double gene = i / 1000.0;
    EXPECT_NEAR(PointToGene(GeneToPoint(gene)), gene, 1e-15);
    EXPECT_TRUE(GeneToPoint(gene) >= -kBoxMargin && GeneToPoint(gene) <= 1 + kBoxMargin);
  }
}

}  // namespace
}  // namespace merganser

#include "coordinator/optimizer/pareto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

TEST(Pareto, OneDominatesIfNowhereWorseAndSomewhereBetter) {
  EXPECT_TRUE(Dominates({2, 1}, {1, 1}));
  EXPECT_FALSE(Dominates({1, 1}, {1, 1}));
  EXPECT_FALSE(Dominates({2, 0}, {1, 1}));
  EXPECT_TRUE(Dominates({0, 0}, {}));  // what failed is behind all
  EXPECT_FALSE(Dominates({}, {}));
}

TEST(Pareto, FrontsAreLayers) {
  EXPECT_THAT(DominationRanks({{3, 1}, {1, 3}, {2, 1}, {1, 1}, {}, {3, 1}}), ElementsAre(0, 0, 1, 2, 3, 0));
}

TEST(Pareto, CrowdingIsTheGapBetweenNeighbours) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<FitnessVector> all = {{0, 4}, {1, 3}, {3, 1}, {4, 0}};
  // (3 - 0) / 4 + (4 - 1) / 4, and (4 - 1) / 4 + (3 - 0) / 4.
  EXPECT_THAT(CrowdingDistances(all, {0, 1, 2, 3}), ElementsAre(inf, 1.5, 1.5, inf));
  EXPECT_THAT(CrowdingDistances({{1, 1}, {1, 1}}, {0, 1}), ElementsAre(inf, 0));
}

TEST(Pareto, TheBestAreWholeFrontsAndTheLeastCrowdedOfTheLast) {
  const std::vector<FitnessVector> all = {{0, 0}, {0, 4}, {0.1, 3.9}, {2, 2}, {4, 0}, {}};
  EXPECT_THAT(SelectBest(all, 3, false), UnorderedElementsAre(1, 4, 3));
  EXPECT_THAT(SelectBest(all, 3, true), UnorderedElementsAre(1, 4, 3));
  EXPECT_EQ(SelectBest(all, 9, false).size(), 6u);
  EXPECT_EQ(SelectBest(all, 9, false).back(), 5);
  // One objective: by rank alone.
  EXPECT_THAT(SelectBest({{1}, {3}, {2}}, 2, true), ElementsAre(1, 2));
}

}  // namespace
}  // namespace merganser

#include "coordinator/optimizer/hypervolume.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/rng.h"

namespace merganser {
namespace {

TEST(Hypervolume, CountsWhatIsDominatedOnce) {
  EXPECT_DOUBLE_EQ(Hypervolume({{3}, {2}}, {1}), 2);
  // 3 x 1 and 1 x 3 overlap in 1 x 1.
  EXPECT_DOUBLE_EQ(Hypervolume({{3, 1}, {1, 3}, {0.5, 0.5}}, {0, 0}), 5);
  EXPECT_DOUBLE_EQ(Hypervolume({{3, 1}, {-1, 9}}, {0, 0}), 3);  // not above the reference
  EXPECT_DOUBLE_EQ(Hypervolume({{2, 1, 1}, {1, 2, 1}, {1, 1, 2}}, {0, 0, 0}), 4);
  EXPECT_DOUBLE_EQ(Hypervolume({{1, 1, 1, 1}, {2, 1, 1, 1}}, {0, 0, 0, 0}), 2);
  EXPECT_DOUBLE_EQ(Hypervolume({}, {0, 0}), 0);
}

// Written by tests/golden/hypervolumes.py.
TEST(Hypervolume, IsThatOfPymoo) {
  std::ifstream file(std::string(MG_SOURCE_DIR) + "/tests/golden/hypervolumes.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_GE(cases.size(), 30u);
  for (const auto& c : cases) {
    const double expected = c["volume"].get<double>();
    EXPECT_NEAR(Hypervolume(c["points"].get<std::vector<FitnessVector>>(), c["reference"].get<FitnessVector>()), expected,
                1e-12 + 1e-9 * expected)
        << c["name"];
  }
}

TEST(Hypervolume, IsTheSameInAnyOrderOfPointsAndObjectives) {
  Rng rng(1, 2);
  for (size_t objectives = 2; objectives <= 5; ++objectives) {
    std::vector<FitnessVector> points(12, FitnessVector(objectives));
    for (FitnessVector& p : points) {
      for (double& x : p) x = rng.Uniform();
    }
    const FitnessVector reference(objectives, 0.05);
    const double volume = Hypervolume(points, reference);
    for (FitnessVector& p : points) std::rotate(p.begin(), p.begin() + 1, p.end());
    std::reverse(points.begin(), points.end());
    EXPECT_NEAR(Hypervolume(points, reference), volume, 1e-12) << objectives;
  }
}

TEST(Hypervolume, GivesUpWhereItWouldTakeTooLong) {
  Rng rng(1, 3);
  std::vector<FitnessVector> points(300, FitnessVector(8));
  for (FitnessVector& p : points) {
    for (double& x : p) x = rng.Uniform();
  }
  int64_t steps = 1'000'000;
  EXPECT_FALSE(HypervolumeWithin(points, FitnessVector(8, 0.0), &steps).has_value());
  steps = 1'000'000;
  EXPECT_TRUE(HypervolumeWithin({points.begin(), points.begin() + 5}, FitnessVector(8, 0.0), &steps).has_value());
}

}  // namespace
}  // namespace merganser

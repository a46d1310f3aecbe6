#include "coordinator/replay/front_volume.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/base/rng.h"

namespace merganser {
namespace {

FrontValue Share(const std::string& samples_of, size_t right, size_t count) {
  FrontValue v{static_cast<double>(right) / static_cast<double>(count), samples_of, std::vector<double>(count, 0.0)};
  for (size_t i = 0; i < right; ++i) v.samples[i] = 1;
  return v;
}

FrontValue Certain(double value) { return {value, "", {}}; }

TEST(FrontVolume, IsThatOfTheValues) {
  const auto volume = FrontVolume({{Certain(0.8), Certain(-6)}, {Certain(0.3), Certain(-5)}}, {0, -11});
  EXPECT_DOUBLE_EQ(volume.value_or(-1), 0.8 * 5 + 0.3 * 1);
  EXPECT_FALSE(FrontVolumeInterval({{Certain(0.8)}}, {0})->low < 0.8);
}

// One candidate and one certain objective: the interval is that of a share, p +- 1.96 sqrt(p (1 - p) / n), times the other.
TEST(FrontVolume, IntervalOfOneShareIsItsOwn) {
  const auto interval = FrontVolumeInterval({{Share("task", 160, 200), Certain(-6)}}, {0, -8});
  ASSERT_TRUE(interval.has_value());
  const double half = 1.96 * std::sqrt(0.8 * 0.2 / 200);
  EXPECT_NEAR(interval->low, 2 * (0.8 - half), 0.02);
  EXPECT_NEAR(interval->high, 2 * (0.8 + half), 0.02);
  const auto again = FrontVolumeInterval({{Share("task", 160, 200), Certain(-6)}}, {0, -8});
  EXPECT_EQ(again->low, interval->low);
  EXPECT_EQ(again->high, interval->high);
}

// Equal outcomes on the same samples rise and fall together, so a second such candidate adds nothing; on samples of its own
// the better of the two counts, which is narrower and higher.
TEST(FrontVolume, CandidatesOfTheSameSamplesAreResampledTogether) {
  const auto one = FrontVolumeInterval({{Share("a", 50, 100)}}, {0});
  const auto same = FrontVolumeInterval({{Share("a", 50, 100)}, {Share("a", 50, 100)}}, {0});
  const auto own = FrontVolumeInterval({{Share("a", 50, 100)}, {Share("b", 50, 100)}}, {0});
  EXPECT_EQ(same->low, one->low);
  EXPECT_EQ(same->high, one->high);
  EXPECT_GT(own->low, one->low);
}

// 200 experiments: of how many the interval holds the true volume.
TEST(FrontVolume, IntervalHoldsTheTrueVolumeInNineteenOfTwenty) {
  const std::vector<double> p = {0.8, 0.6}, q = {0.3, 0.7};
  const double truth = 0.8 * 0.3 + 0.6 * 0.4;
  int held = 0;
  constexpr int kExperiments = 200;
  for (int experiment = 0; experiment < kExperiments; ++experiment) {
    Rng rng(17, static_cast<uint64_t>(experiment));
    std::vector<std::vector<FrontValue>> front(2);
    for (size_t c = 0; c < 2; ++c) {
      for (const auto& [name, share] : {std::pair("first", p[c]), std::pair("second", q[c])}) {
        FrontValue v{0, name, {}};
        for (int i = 0; i < 150; ++i) v.samples.push_back(rng.Uniform() < share ? 1 : 0);
        for (const double x : v.samples) v.value += x / 150;
        front[c].push_back(v);
      }
    }
    const auto interval = FrontVolumeInterval(front, {0, 0});
    held += interval->low <= truth && truth <= interval->high ? 1 : 0;
  }
  EXPECT_GE(held, 180);
  EXPECT_LE(held, 199);
}

TEST(FrontVolume, GivesUpWhereItWouldTakeTooLong) {
  Rng rng(1, 1);
  std::vector<std::vector<FrontValue>> front(200);
  for (auto& values : front) {
    for (int i = 0; i < 8; ++i) values.push_back(Certain(rng.Uniform()));
  }
  EXPECT_FALSE(FrontVolumeInterval(front, FitnessVector(8, 0.0)).has_value());
}

}  // namespace
}  // namespace merganser

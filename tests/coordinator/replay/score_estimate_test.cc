#include "coordinator/replay/score_estimate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/rng.h"

namespace merganser {
namespace {

double Chance(double ability, double difficulty) { return 1 / (1 + std::exp(-1.5 * (ability - difficulty))); }

// 200 samples of difficulties from -2 to 2, what models of given abilities get right of them.
Eigen::MatrixXd Outcomes(const std::vector<double>& abilities, uint64_t seed) {
  Eigen::MatrixXd outcomes(static_cast<Eigen::Index>(abilities.size()), 200);
  Rng rng(seed, 1);
  for (size_t m = 0; m < abilities.size(); ++m) {
    for (int s = 0; s < 200; ++s) {
      outcomes(static_cast<Eigen::Index>(m), s) =
          rng.Uniform() < Chance(abilities[m], -2 + 4.0 * ((s * 37) % 200) / 200) ? 1 : 0;
    }
  }
  return outcomes;
}

std::vector<bool> On(const Eigen::MatrixXd& outcomes, int model, const std::vector<int>& seen) {
  std::vector<bool> right;
  for (const int sample : seen) right.push_back(outcomes(model, sample) > 0.5);
  return right;
}

Eigen::MatrixXd Leaderboard() {
  Rng rng(5, 0);
  std::vector<double> abilities;
  for (int i = 0; i < 100; ++i) abilities.push_back(rng.Normal());
  return Outcomes(abilities, 2);
}

TEST(ScoreEstimate, IsNearerToTheScoreOnAllSamplesThanTheMeanOfTheFew) {
  const ScoreEstimate estimate(Leaderboard());
  std::vector<double> abilities;
  for (int i = 0; i < 60; ++i) abilities.push_back(-1.5 + 0.05 * i);
  const Eigen::MatrixXd merges = Outcomes(abilities, 3);
  std::vector<int> seen(20);
  std::iota(seen.begin(), seen.end(), 40);
  double of_mean = 0, of_estimate = 0;
  for (int m = 0; m < 60; ++m) {
    const std::vector<bool> right = On(merges, m, seen);
    const double truth = merges.row(m).mean(), mean = std::count(right.begin(), right.end(), true) / 20.0;
    of_mean += (mean - truth) * (mean - truth);
    of_estimate += std::pow(estimate.Score(seen, right) - truth, 2);
  }
  EXPECT_LT(of_estimate, 0.85 * of_mean);
}

TEST(ScoreEstimate, OfAllSamplesIsTheirMean) {
  const Eigen::MatrixXd known = Leaderboard();
  const ScoreEstimate estimate(known);
  std::vector<int> all(200);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_NEAR(estimate.Score(all, On(known, 7, all)), known.row(7).mean(), 1e-12);
}

TEST(ScoreEstimate, AbilitiesGrowWithWhatIsRightAndHaveNoPrior) {
  const ScoreEstimate estimate(Leaderboard());
  const std::vector<int> seen = {3, 50, 110, 160, 190};
  EXPECT_NEAR(estimate.Ability(seen, {false, false, false, false, false}), -ScoreEstimate::kAbilityMax, 1e-9);
  EXPECT_NEAR(estimate.Ability(seen, {true, true, true, true, true}), ScoreEstimate::kAbilityMax, 1e-9);
  EXPECT_NEAR(estimate.Score(seen, {false, false, false, false, false}), 0, 1e-9);
  EXPECT_NEAR(estimate.Score(seen, {true, true, true, true, true}), 1, 1e-9);
  const double two = estimate.Ability(seen, {true, true, false, false, false});
  EXPECT_GT(estimate.Ability(seen, {true, true, true, false, false}), two);
  EXPECT_LT(std::abs(two), 5);
}

TEST(ScoreEstimate, TwoSourcesAreEnoughForANumber) {
  const ScoreEstimate estimate(Outcomes({-1, -2}, 4));
  const double score = estimate.Score({1, 2, 3}, {true, false, true});
  EXPECT_GT(score, 0.3);
  EXPECT_LT(score, 1);
}

}  // namespace
}  // namespace merganser

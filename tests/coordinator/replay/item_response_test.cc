#include "coordinator/replay/item_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "common/base/rng.h"

namespace merganser {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Lt;

// Half of the samples tell able candidates from others (a = 2.5), the others hardly do (a = 0.2); all of difficulty 0.
Eigen::MatrixXd Outcomes(int candidates, int samples) {
  Eigen::MatrixXd outcomes(candidates, samples);
  Rng rng(3, 1);
  for (int c = 0; c < candidates; ++c) {
    const double ability = rng.Normal();
    for (int s = 0; s < samples; ++s) {
      outcomes(c, s) = rng.Uniform() < 1 / (1 + std::exp(-(s < samples / 2 ? 2.5 : 0.2) * ability)) ? 1 : 0;
    }
  }
  return outcomes;
}

TEST(ItemResponse, TellsSamplesThatDiscriminateFromThoseThatDoNot) {
  const ItemResponseModel model = FitItemResponse(Outcomes(150, 60));
  EXPECT_GT(model.discriminations.head(30).mean(), 1.5);
  EXPECT_LT(model.discriminations.tail(30).mean(), 0.6);
  EXPECT_LT(model.difficulties.cwiseAbs().mean(), 0.5);
  EXPECT_NEAR(model.abilities.mean(), 0, 1e-9);
  EXPECT_THAT(MostInformative(model, 0, 20), Each(Lt(30)));
}

TEST(ItemResponse, ASampleTellsMostAboutCandidatesWhoseChanceIsEven) {
  // Difficulties -2, 0, 2 at equal discrimination.
  const ItemResponseModel model{Eigen::VectorXd::Zero(1), Eigen::VectorXd::Ones(3), Eigen::Vector3d(-2, 0, 2)};
  EXPECT_THAT(MostInformative(model, 0, 1), ElementsAre(1));
  EXPECT_THAT(MostInformative(model, 2, 1), ElementsAre(2));
  EXPECT_THAT(MostInformative(model, -2, 1), ElementsAre(0));
  EXPECT_NEAR(model.Information(0)[1], 0.25, 1e-12);
}

TEST(ItemResponse, LeavesOutWhatWasNotScoredAndBearsSamplesThatAllGetRight) {
  Eigen::MatrixXd outcomes = Outcomes(60, 20);
  outcomes.col(0).setOnes();
  outcomes.col(1).setConstant(-1);
  outcomes.row(5).setConstant(-1);
  const ItemResponseModel model = FitItemResponse(outcomes);
  EXPECT_TRUE(model.discriminations.allFinite());
  EXPECT_TRUE(model.difficulties.allFinite());
  EXPECT_TRUE(model.abilities.allFinite());
  EXPECT_LT(model.difficulties[0], -1);            // easy
  EXPECT_NEAR(model.discriminations[1], 1, 1e-6);  // the prior's
  EXPECT_LT(model.Information(0)[0], model.Information(0)[1]);
}

TEST(ItemResponse, ADrawIsMostlyOfWhatTells) {
  const Eigen::MatrixXd outcomes = Outcomes(120, 60);
  std::vector<int> draw;
  for (int s = 20; s < 40; ++s) draw.push_back(s);
  const std::vector<int> chosen = InformativeDraw(outcomes, 10, draw);
  ASSERT_EQ(chosen.size(), draw.size());
  EXPECT_THAT(std::vector<int>(chosen.begin(), chosen.begin() + 15), Each(Lt(30)));
  EXPECT_EQ(std::set<int>(chosen.begin(), chosen.end()).size(), chosen.size()) << "none twice";
  for (size_t i = 15; i < chosen.size(); ++i) EXPECT_NE(std::find(draw.begin(), draw.end(), chosen[i]), draw.end());
}

}  // namespace
}  // namespace merganser

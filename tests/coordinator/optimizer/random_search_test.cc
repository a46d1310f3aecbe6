#include "coordinator/optimizer/random_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contracts/optimizer_contract.h"

namespace merganser {
namespace {

TEST(RandomSearch, IsUniformInTheBox) {
  RandomSearch optimizer(10, 2, 3);
  const int count = 20000;
  double mean = 0, square = 0, product = 0;
  for (const Proposal& proposal : MustAsk(optimizer, count)) {
    mean += proposal.genome[0] / count;
    square += proposal.genome[0] * proposal.genome[0] / count;
    product += (proposal.genome[0] - 0.5) * (proposal.genome[1] - 0.5) / count;
  }
  // Five standard errors: 0.289, 0.298 and 1/12 over sqrt(20000).
  EXPECT_NEAR(mean, 0.5, 0.0103);
  EXPECT_NEAR(square, 1.0 / 3, 0.0106);
  EXPECT_NEAR(product, 0, 0.003);
}

TEST(RandomSearch, CountsGenerationsByOutcomesAndHasNoMean) {
  RandomSearch optimizer(2, 3, 1);
  MustAsk(optimizer, 5);
  ASSERT_TRUE(optimizer.Tell({{Outcome{3, {1.0}}, Outcome{0, {}, true}, Outcome{1, {0.5}}}}).ok());
  EXPECT_EQ(optimizer.generation(), 1);
  EXPECT_EQ(optimizer.Summary(), "random: 3 told, 1 failed");
  EXPECT_TRUE(optimizer.Mean().empty());
  EXPECT_EQ(optimizer.StopReason(), "");
}

TEST(RandomSearch, ProposalsDoNotDependOnWhatIsTold) {
  RandomSearch told(2, 3, 1), untold(2, 3, 1);
  MustAsk(told, 2);
  MustAsk(untold, 2);
  ASSERT_TRUE(told.Tell({{Outcome{0, {1.0}}, Outcome{1, {2.0}}}}).ok());
  EXPECT_EQ(MustAsk(told, 3), MustAsk(untold, 3));
}

}  // namespace
}  // namespace merganser

#include "coordinator/replay/pool_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// "110": right, right, wrong; `times` over, so that intervals are narrow.
PoolModel Model(const std::string& name, const std::string& outcomes, int times = 40) {
  PoolModel model{name, {}};
  for (int i = 0; i < times; ++i) {
    for (const char c : outcomes) model.correct.push_back(c == '1');
  }
  return model;
}

TEST(PoolSelection, PrefersModelsThatAreRightWhereOthersAreWrong) {
  // The two best by score know the same; the weakest knows the rest.
  const std::vector<PoolModel> models = {Model("best", "11100"), Model("twin", "11000"), Model("other", "00011")};
  const auto suggestion = SuggestPool(models, 3, 2);
  ASSERT_TRUE(suggestion.ok()) << suggestion.status();
  ASSERT_EQ(suggestion->choices.size(), 2u);
  const PoolChoice& pair = suggestion->choices[0][0];
  EXPECT_THAT(pair.models, ElementsAre(0, 2));
  EXPECT_DOUBLE_EQ(pair.coverage, 1.0);
  EXPECT_DOUBLE_EQ(pair.best_alone, 0.6);
  EXPECT_THAT(pair.only, ElementsAre(testing::DoubleEq(0.6), testing::DoubleEq(0.4)));
  EXPECT_DOUBLE_EQ(pair.gain, 0.4);
  EXPECT_GT(pair.gain_low, 0.3);
  EXPECT_LT(pair.gain_high, 0.5);
  EXPECT_THAT(suggestion->choices[0][1].models, ElementsAre(1, 2));
  // A third adds nothing, so two are suggested.
  EXPECT_DOUBLE_EQ(suggestion->choices[1][0].gain, 0);
  EXPECT_EQ(suggestion->suggested_size, 2);
}

TEST(PoolSelection, GrowsWhileEachMemberAddsBeyondChance) {
  const std::vector<PoolModel> models = {Model("a", "1000"), Model("b", "0100"), Model("c", "0010"), Model("d", "0001")};
  EXPECT_EQ(SuggestPool(models, 4, 1)->suggested_size, 4);
  EXPECT_EQ(SuggestPool(models, 3, 1)->suggested_size, 3);
  // Of four samples one more right answer may be chance.
  const std::vector<PoolModel> few = {Model("a", "1100", 1), Model("b", "0010", 1)};
  EXPECT_LE(SuggestPool(few, 2, 1)->choices[0][0].gain_low, 0);
  EXPECT_EQ(SuggestPool(few, 2, 1)->suggested_size, 2);
}

TEST(PoolSelection, EqualCoverageGoesToTheHigherScores) {
  const std::vector<PoolModel> models = {Model("weak", "100"), Model("strong", "110"), Model("other", "001"),
                                         Model("third", "011")};
  EXPECT_THAT(SuggestPool(models, 2, 1)->choices[0][0].models, ElementsAre(1, 3));
}

TEST(PoolSelection, RefusesWhatCannotBeCompared) {
  const auto message = [](const std::vector<PoolModel>& models, int size = 2, int keep = 1) {
    const auto status = SuggestPool(models, size, keep).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const PoolModel a = Model("a", "10"), b = Model("b", "01");
  EXPECT_THAT(message({a}), HasSubstr("1 models are not in [2, 64]"));
  EXPECT_THAT(message({a, {"empty", {}}}), HasSubstr("model 'empty' has no samples"));
  EXPECT_THAT(message({a, Model("longer", "011")}), HasSubstr("model 'longer' has 120 samples where 'a' has 80"));
  EXPECT_THAT(message({a, b}, 5), HasSubstr("a pool of up to 5 models is not in [2, 4]"));
  EXPECT_THAT(message({a, b}, 2, 0), HasSubstr("0 choices to keep"));
}

}  // namespace
}  // namespace merganser

// Continuations of one context as a tree of runs in the rows of a slot.
#include "worker/engine/scoring_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/worker/engine/engine_testing.h"

namespace merganser {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

std::vector<ScoringRequest> Choices(int context, const std::vector<std::vector<int32_t>>& choices) {
  std::vector<ScoringRequest> requests;
  for (const auto& choice : choices) requests.push_back({std::vector<int32_t>(context, 1), choice});
  return requests;
}

std::vector<int> All(const std::vector<ScoringRequest>& requests) {
  std::vector<int> group(requests.size());
  for (size_t i = 0; i < group.size(); ++i) group[i] = static_cast<int>(i);
  return group;
}

TEST(ScoringTreeTest, ACommonBeginningIsOneNode) {
  const auto requests = Choices(20, {{3, 60, 1, 2}, {9, 8}, {3, 60, 5, 6, 7}});

  const auto trees = MakeScoringTrees(requests, All(requests), 1000);

  ASSERT_THAT(trees, SizeIs(1));
  ASSERT_THAT(trees[0].nodes, SizeIs(4));  // last tokens are only targets
  EXPECT_THAT(trees[0].nodes[0].tokens, ElementsAre(3, 60));
  EXPECT_THAT(trees[0].nodes[1].tokens, ElementsAre(1));
  EXPECT_THAT(trees[0].nodes[2].tokens, ElementsAre(5, 6));
  EXPECT_THAT(trees[0].nodes[3].tokens, ElementsAre(9));
  EXPECT_EQ(trees[0].nodes[2].position, 22);
  EXPECT_THAT(trees[0].nodes[0].wanted[0], SizeIs(2));  // 60, of two continuations
  EXPECT_EQ(trees[0].nodes[3].wanted[0][0].request, 1);
  EXPECT_EQ(trees[0].nodes[3].wanted[0][0].index, 1);
}

TEST(ScoringTreeTest, OneTokenIsTheContextsToPredict) {
  const auto requests = Choices(20, {{3}, {4}, {5}});
  EXPECT_THAT(MakeScoringTrees(requests, All(requests), 1000), SizeIs(0));
}

TEST(ScoringTreeTest, EqualContinuationsAreComputedOnce) {
  const auto requests = Choices(20, {{3, 4, 5}, {3, 4, 5}});
  const auto trees = MakeScoringTrees(requests, All(requests), 1000);
  ASSERT_THAT(trees, SizeIs(1));
  ASSERT_THAT(trees[0].nodes, SizeIs(1));
  EXPECT_THAT(trees[0].nodes[0].wanted[1], SizeIs(2));
  EXPECT_THAT(trees[0].nodes[0].spans, SizeIs(1));  // behind the context
}

TEST(ScoringTreeTest, WithoutBranchesEachContinuationIsBehindTheContext) {
  const auto requests = Choices(20, {{3, 4, 5}, {3, 4, 6}});
  const auto trees = MakeScoringTrees(requests, All(requests), 0);
  ASSERT_THAT(trees, SizeIs(2));
  for (const ScoringTree& tree : trees) {
    ASSERT_THAT(tree.nodes, SizeIs(1));
    EXPECT_EQ(tree.nodes[0].position, 20);
    EXPECT_THAT(tree.nodes[0].spans, SizeIs(1));
  }
}

// Where the tokens of `node` and all that they see lie; fails if a span's rows and positions are not congruent.
std::map<int, int> RowsOf(const ScoringTree::Node& node) {
  std::map<int, int> rows;  // by position
  const int end = node.position + static_cast<int>(node.tokens.size());
  for (size_t s = 0; s < node.spans.size(); ++s) {
    const PositionSpan& span = node.spans[s];
    EXPECT_EQ(span.position % 16, span.row % 16);
    const int until = s + 1 < node.spans.size() ? node.spans[s + 1].position : end;
    for (int p = span.position; p < until; ++p) rows[p] = span.row + p - span.position;
  }
  return rows;
}

TEST(ScoringTreeTest, NothingThatIsSeenIsWrittenOverAndAllFits) {
  constexpr int kRows = 112;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::vector<std::vector<int32_t>> choices = RandomPrompts(12, seed, /*vocab=*/3);
    const int context = 1 + static_cast<int>(seed % 40);
    const auto requests = Choices(context, choices);
    std::set<std::pair<int, int>> wanted;
    for (const ScoringTree& tree : MakeScoringTrees(requests, All(requests), kRows)) {
      std::map<int, int32_t> held;  // a token by its row; -1: the context's
      for (int p = 0; p < context; ++p) held[p] = -1;
      for (const ScoringTree::Node& node : tree.nodes) {
        const std::map<int, int> rows = RowsOf(node);
        EXPECT_EQ(rows.begin()->first, 0);
        for (size_t t = 0; t < node.tokens.size(); ++t) {
          const int row = rows.at(node.position + static_cast<int>(t));
          EXPECT_LT(row, kRows);
          EXPECT_TRUE(held.emplace(row, node.tokens[t]).second) << "row " << row << " holds something already";
          for (const ScoringTree::Wanted& w : node.wanted[t]) {
            wanted.insert({w.request, w.index});
            // What is seen up to here is the context and the continuation before the target.
            for (int p = 0; p < context + w.index; ++p) {
              EXPECT_EQ(held.at(rows.at(p)), p < context ? -1 : choices[w.request][p - context]);
            }
          }
        }
      }
    }
    size_t all = 0;
    for (const auto& choice : choices) all += choice.size() - 1;
    EXPECT_EQ(wanted.size(), all);
  }
}

}  // namespace
}  // namespace merganser

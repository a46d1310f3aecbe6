// A parameter stage after a search of paths: the path is the architecture, the weights of its layers are searched.
#include "coordinator/search_space/winner_start.h"

#include "common/domain/search_validation.h"
#include "coordinator/search_space/search_space.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Paths through a and b, then the weights of the winner's layers.
JobSpec Spec(Granularity granularity = {.kind = Granularity::Kind::kLayer}) {
  JobSpec spec;
  spec.models = {{"base", "m"}, {"a", "m/a"}, {"b", "m/b"}};
  spec.data_flow = DataFlowSpace{.sources = {"a", "b"}, .ends = DataFlowSpace::Ends::kSearch};
  spec.budget.candidates = 10;
  SearchStage weights;
  weights.parameter.method = "task_arithmetic";
  weights.parameter.base = "base";
  weights.parameter.sources = {"a", "b"};
  weights.parameter.bounds = {{"weight", {0, 2}}};
  weights.parameter.granularity = granularity;
  weights.parameter.start = "winner";
  weights.budget.candidates = 10;
  spec.then = {weights};
  return spec;
}

// a's embedding and head, the layers b0 a0 b1 a0: two of depth 0, one of them twice.
Recipe Path() {
  Recipe winner;
  winner.stacks = {{.name = "b", .sources = {"b"}}, {.name = "a", .sources = {"a"}}};
  winner.path = {{0, 0, 1}, {1, 0, 0.5}, {0, 1, 1.25}, {1, 0, 0.75}};
  winner.embedding_from = "a";
  winner.head_from = "a";
  return winner;
}

std::vector<std::string> Groups(const SearchSpace& space, const std::string& source) {
  std::vector<std::string> groups;
  for (const GeneLabel& label : space.labels()) {
    if (label.source == source) groups.push_back(label.group);
  }
  return groups;
}

std::vector<double> Starts(const SearchSpace& space) {
  std::vector<double> starts;
  for (const Gene& gene : space.genome().genes) starts.push_back(gene.start);
  return starts;
}

// The weight of the source in the layer (-1: the embedding, -2: the head) of the recipe's stack, by the first group that has
// it.
double WeightOf(const Recipe& recipe, int stack, int layer, size_t source) {
  const ModelPart part = layer == -1 ? ModelPart::kEmbedding : layer == -2 ? ModelPart::kHead : ModelPart::kLayers;
  for (const GroupSettings& settings : recipe.stacks[stack].settings) {
    if (Belongs(settings.group, part, layer, "x.weight")) return settings.source_parameters[source].at("weight");
  }
  return -1;
}

TEST(WinnerPathTest, EachDistinctLayerOfThePathHasCoefficientsOfItsOwn) {
  const Recipe winner = Path();
  const SearchSpace space = *SearchSpace::Create(Spec(), 2, 1, &winner);
  EXPECT_THAT(Groups(space, "a"), ElementsAre("embed", "hop.0", "hop.1", "hop.2", "out"))
      << "hop 3 returns to hop 1's layer";
  EXPECT_EQ(space.dimension(), 2 * 5);
}

TEST(WinnerPathTest, TheSearchBeginsAtTheWinner) {
  const Recipe winner = Path();
  const SearchSpace space = *SearchSpace::Create(Spec(), 2, 1, &winner);
  //                                         embed b0   a0   b1   out
  EXPECT_THAT(Starts(space), ElementsAre(0.5, 0.0, 0.5, 0.0, 0.5,    // of a: weight 1 is the gene 0.5
                                         0.0, 0.5, 0.0, 0.5, 0.0));  // of b
}

TEST(WinnerPathTest, RecipesKeepOrderAndScales) {
  const Recipe winner = Path();
  const SearchSpace space = *SearchSpace::Create(Spec(), 2, 1, &winner);
  //                                                             embed b0   a0   b1   out
  const Recipe recipe = *space.Decode(std::vector<double>{0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50});
  EXPECT_THAT(recipe.path, ElementsAre(Hop{0, 0, 1}, Hop{1, 0, 0.5}, Hop{0, 1, 1.25}, Hop{1, 0, 0.75}))
      << "two layers of depth 0 need two stacks";
  ASSERT_EQ(recipe.stacks.size(), 2u);
  EXPECT_EQ(recipe.stacks[0].name, "merged");
  EXPECT_EQ(recipe.stacks[1].name, "merged-2");
  EXPECT_EQ(recipe.stacks[1].base, "base");
  EXPECT_DOUBLE_EQ(WeightOf(recipe, 0, -1, 0), 0.1);
  EXPECT_DOUBLE_EQ(WeightOf(recipe, 0, 0, 0), 0.2);
  EXPECT_DOUBLE_EQ(WeightOf(recipe, 1, 0, 0), 0.3);
  EXPECT_DOUBLE_EQ(WeightOf(recipe, 0, 1, 0), 0.4);
  EXPECT_DOUBLE_EQ(WeightOf(recipe, 0, -2, 0), 0.5);
  EXPECT_DOUBLE_EQ(WeightOf(recipe, 1, 0, 1), 0.8);
  EXPECT_EQ(recipe.embedding_from, "");
  EXPECT_EQ(recipe.head_from, "");
  for (const Stack& stack : recipe.stacks) {
    for (int layer = -2; layer < 2; ++layer) {
      EXPECT_GE(WeightOf(recipe, &stack - recipe.stacks.data(), layer, 0), 0) << "every tensor has settings";
    }
  }
}

TEST(WinnerPathTest, CoarserGroupsBeginAtTheMeanOfTheirLayers) {
  const Recipe winner = Path();
  const SearchSpace blocks = *SearchSpace::Create(Spec({.kind = Granularity::Kind::kBlock, .block = 2}), 2, 1, &winner);
  EXPECT_THAT(Groups(blocks, "a"), ElementsAre("embed", "hops.0-1", "hops.2-2", "out"));
  EXPECT_THAT(Starts(blocks), ElementsAre(0.5, 0.25, 0.0, 0.5, 0.0, 0.25, 0.5, 0.0));
  const SearchSpace model = *SearchSpace::Create(Spec({.kind = Granularity::Kind::kModel}), 2, 1, &winner);
  ASSERT_EQ(model.dimension(), 2);
  EXPECT_NEAR(Starts(model)[0], 0.5 / 3, 1e-12);
  const Recipe recipe = *model.Decode(Starts(model));
  EXPECT_EQ(recipe.stacks.size(), 1u) << "layers of one depth are equal here";
  EXPECT_THAT(recipe.path, ElementsAre(Hop{0, 0, 1}, Hop{0, 0, 0.5}, Hop{0, 1, 1.25}, Hop{0, 0, 0.75}));
}

TEST(WinnerPathTest, LayersOfAnEarlierMergeBeginAtItsCoefficients) {
  Recipe winner = Path();
  winner.stacks[0] = {.name = "merged",
                      .method = "task_arithmetic",
                      .base = "base",
                      .sources = {"b"},
                      .settings = {{.group = {.name = "model"}, .source_parameters = {{{"weight", 0.5}}}}}};
  const SearchSpace space = *SearchSpace::Create(Spec(), 2, 1, &winner);
  EXPECT_THAT(Starts(space), ElementsAre(0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.25, 0.0, 0.25, 0.0));
}

TEST(WinnerPathTest, FiltersBeginAtWhatAnEarlierMergeHasForThem) {
  Recipe winner = Path();
  winner.stacks[0] = {
      .name = "merged",
      .method = "task_arithmetic",
      .base = "base",
      .sources = {"a", "b"},
      .settings = {{.group = {.name = "mlp", .filter = "mlp"}, .source_parameters = {{{"weight", 0.5}}, {{"weight", 1.5}}}},
                   {.group = {.name = "rest"}, .source_parameters = {{{"weight", 1}}, {{"weight", 0.1}}}}}};
  winner.path = {{0, 0, 1}, {0, 1, 1}, {0, 1, 0.5}};
  winner.embedding_from = winner.head_from = "";
  const SearchSpace space =
      *SearchSpace::Create(Spec({.kind = Granularity::Kind::kFilters, .filters = {"mlp"}}), 2, 1, &winner);
  EXPECT_THAT(Starts(space), ElementsAre(0.25, 0.5,     // of a: mlp, rest
                                         0.75, 0.05));  // of b
}

TEST(WinnerPathTest, AModelsLayersInOrderAreNoPath) {
  Recipe winner;
  winner.stacks = {{.name = "b", .sources = {"b"}}};
  const SearchSpace space = *SearchSpace::Create(Spec(), 2, 1, &winner);
  EXPECT_THAT(Starts(space), ElementsAre(0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5));
  EXPECT_TRUE((*space.Decode(Starts(space))).path.empty());
}

TEST(WinnerPathTest, WithoutStartThePathIsForgotten) {
  JobSpec spec = Spec();
  spec.then[0].parameter.start.clear();
  const Recipe winner = Path();
  const SearchSpace space = *SearchSpace::Create(spec, 2, 1, &winner);
  EXPECT_THAT(Groups(space, "a"), ElementsAre("embed", "layer.0", "layer.1", "out"));
  EXPECT_TRUE((*space.Decode(std::vector<double>(8, 0.5))).path.empty());
}

TEST(WinnerPathTest, AModelThatThePathMayRunThroughMustBeMergedToo) {
  JobSpec spec = Spec();
  EXPECT_TRUE(ValidateStages(spec).ok()) << ValidateStages(spec);
  spec.data_flow->sources.push_back("base");
  EXPECT_TRUE(ValidateStages(spec).ok()) << "layers of the base have weight 0 of all sources: " << ValidateStages(spec);
  spec.then[0].parameter.sources = {"a"};
  EXPECT_THAT(std::string(ValidateStages(spec).message()),
              HasSubstr("then[0].space.parameter.sources: the winner's path may have layers of 'b', at which"));
  spec.then[0].parameter.start.clear();
  EXPECT_TRUE(ValidateStages(spec).ok());
}

}  // namespace
}  // namespace merganser

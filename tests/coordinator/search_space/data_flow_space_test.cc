#include "coordinator/search_space/data_flow_space.h"

#include <algorithm>
#include <cmath>

#include "common/domain/search_validation.h"
#include "coordinator/search_space/search_space.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using Encoding = DataFlowSpace::Encoding;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

JobSpec Spec(const DataFlowSpace& space) {
  JobSpec spec;
  spec.seed = 3;
  spec.models = {{"a", "m/a"}, {"b", "m/b"}};
  spec.data_flow = space;
  return spec;
}

// "a0 a1*0.5 b2": stacks by name, layers, scales that are not 1.
std::string PathOf(const Recipe& recipe, int num_layers) {
  std::string text;
  std::vector<Hop> path = recipe.path;
  for (int i = 0; path.empty() && i < num_layers; ++i)
    text += (i > 0 ? " " : "") + recipe.stacks[0].name + std::to_string(i);
  for (const Hop& hop : path) {
    text += (text.empty() ? "" : " ") + recipe.stacks[hop.stack].name + std::to_string(hop.layer);
    if (hop.scale != 1) text += "*" + std::to_string(hop.scale).substr(0, 4);
  }
  return text;
}

std::vector<double> Starts(const GenomeSpec& genome) {
  std::vector<double> starts;
  for (const Gene& gene : genome.genes) starts.push_back(gene.start);
  return starts;
}

// The published search: two models of 32 layers, three repetitions, a full matrix of scales.
TEST(PublishedEncodingTest, HasThePublishedDimensions) {
  const JobSpec spec = Spec(
      {.sources = {"a", "b"}, .encoding = Encoding::kPublished, .repeats = 3, .scales = DataFlowSpace::Scales::kMatrix});
  const SearchSpace space = *SearchSpace::Create(spec, 32, 0, nullptr);
  EXPECT_EQ(space.dimension(), 192 + 4096);
  // The first model's first pass starts two deviations above the threshold, everything else on it; scales start at 1.
  const GenomeSpec& genome = space.genome();
  const double deviation = genome.genes[0].scale / 6;  // of the gene at sigma0 = 1/6
  EXPECT_NEAR(genome.genes[0].start, 0.5 + 2 * deviation, 1e-12);
  EXPECT_NEAR(genome.genes[31].start, 0.6, 1e-12);
  EXPECT_EQ(genome.genes[32].start, 0.5);
  EXPECT_EQ(genome.genes[64].start, 0.5);
  EXPECT_EQ(genome.genes[192].start, 0.5);
  EXPECT_NEAR(2 * deviation, 0.1, 1e-12) << "p = 2 g - 1 has EvoJAX's deviation";
  const Recipe start = *space.Decode(Starts(genome));
  EXPECT_EQ(start.stacks.size(), 1u);
  EXPECT_TRUE(start.path.empty()) << "the first model as it is: " << PathOf(start, 32);
}

TEST(PublishedEncodingTest, KeepsSlotsAboveTheThresholdInOrderAndForcesTheEnds) {
  const JobSpec spec = Spec({.sources = {"a", "b"}, .encoding = Encoding::kPublished, .repeats = 2});
  const SearchSpace space = *SearchSpace::Create(spec, 3, 0, nullptr);
  //                        a0   a1   a2   b0   b1   b2   a0   a1   a2   b0   b1   b2
  std::vector<double> g = {0.9, 0.2, 0.5, 0.1, 0.8, 0.1, 0.1, 0.6, 0.1, 0.7, 0.1, 0.1};
  EXPECT_EQ(PathOf(*space.Decode(g), 3), "a0 b1 a1 b0 a2") << "on the threshold is not above it";
  g[0] = 0.1;
  g[8] = 0.9;
  g[9] = 0.1;
  EXPECT_EQ(PathOf(*space.Decode(g), 3), "a0 b1 a1 a2") << "an end that is kept is not added";
  EXPECT_EQ(PathOf(*space.Decode(std::vector<double>(12, 0.0)), 3), "a0 a2");
}

TEST(PublishedEncodingTest, ScalesGoByTheLayersThatMeet) {
  const JobSpec spec = Spec(
      {.sources = {"a", "b"}, .encoding = Encoding::kPublished, .repeats = 1, .scales = DataFlowSpace::Scales::kMatrix});
  const SearchSpace space = *SearchSpace::Create(spec, 2, 0, nullptr);
  ASSERT_EQ(space.dimension(), 4 + 16);
  std::vector<double> g = {0.9, 0.1, 0.9, 0.1};  // a0 b0, and a1 is added
  g.resize(20, 0.5);
  g[4 + 0 * 4 + 2] = 0.75;  // a0 -> b0: 1.5
  g[4 + 2 * 4 + 1] = 0.25;  // b0 -> a1: 0.5
  g[4 + 0 * 4 + 1] = 1.0;   // a0 -> a1: not on this path
  EXPECT_EQ(PathOf(*space.Decode(g), 2), "a0 b0*1.50 a1*0.50");
}

TEST(BitsEncodingTest, StartsAtTheFirstSourceAndForcesNothing) {
  const JobSpec spec = Spec({.sources = {"a", "b"}, .encoding = Encoding::kBits, .repeats = 1});
  const SearchSpace space = *SearchSpace::Create(spec, 2, 0, nullptr);
  EXPECT_TRUE((*space.Decode(Starts(space.genome()))).path.empty());
  EXPECT_EQ(PathOf(*space.Decode(std::vector<double>{0, 0, 0, 1}), 2), "b1");
  EXPECT_THAT(std::string(space.Decode(std::vector<double>{0, 0, 0, 0}).status().message()), HasSubstr("keeps no layer"));
  for (const Gene& gene : space.genome().genes) EXPECT_EQ(gene.levels, 2);
}

TEST(PathEncodingTest, ChoosesASourcePerDepthAndTheEnds) {
  const JobSpec spec = Spec({.sources = {"a", "b"}, .ends = DataFlowSpace::Ends::kSearch});
  const SearchSpace space = *SearchSpace::Create(spec, 3, 0, nullptr);
  ASSERT_EQ(space.dimension(), 3 * 2 + 2);
  //                             source keep ...                     embedding head
  const std::vector<double> g = {0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9, 0.1};
  const Recipe recipe = *space.Decode(g);
  EXPECT_EQ(PathOf(recipe, 3), "b0 a1");
  EXPECT_EQ(recipe.embedding_from, "");  // of the first stack, which is b
  EXPECT_EQ(recipe.head_from, "a");
  EXPECT_EQ(recipe.tokenizer_from, "a");
  EXPECT_EQ(space.labels()[6].parameter, "embedding");
}

TEST(PathEncodingTest, RepeatsPutFurtherLayersBehindTheirDepth) {
  const JobSpec spec = Spec({.sources = {"a", "b"}, .repeats = 2, .scales = DataFlowSpace::Scales::kSlot});
  const SearchSpace space = *SearchSpace::Create(spec, 2, 0, nullptr);
  ASSERT_EQ(space.dimension(), 4 * 2 + 4);
  std::vector<double> g = {0.1, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.5, 0.25, 0.5, 0.5};
  EXPECT_EQ(PathOf(*space.Decode(g), 2), "a0 b0*0.50 a1");
  EXPECT_EQ(space.genome().genes[3].start, 0.1) << "the second slot of a depth is probably dropped at first";
}

// Two models of 3 layers, one hidden unit: inputs one, from depth, to depth, hop, from b, to b; then what the unit adds.
TEST(ScaleNetworkTest, ScalesGoByTheLayersThatMeetAndTheHop) {
  const JobSpec spec = Spec({.sources = {"a", "b"},
                             .encoding = Encoding::kPublished,
                             .repeats = 1,
                             .scales = DataFlowSpace::Scales::kNetwork,
                             .hidden_units = 1});
  const SearchSpace space = *SearchSpace::Create(spec, 3, 0, nullptr);
  ASSERT_EQ(space.dimension(), 6 + 6 + 1);
  EXPECT_EQ(space.labels()[6 + 4].parameter, "from source 2");
  std::vector<double> g = {0.9, 0.1, 0.1, 0.1, 0.9, 0.1};  // a0 b1 a2
  g.resize(13, 0.5);
  const auto set = [&](int gene, double value) { g[6 + gene] = gene < 6 ? (value + 3) / 6 : (value + 1) / 2; };
  set(6, 0.5);
  EXPECT_EQ(PathOf(*space.Decode(g), 3), "a0 b1 a2") << "weights of 0 leave every scale at 1";
  const auto scale = [&](double sum) { return std::clamp(1 + 0.5 * std::tanh(sum), 0.0, 2.0); };
  const auto scales = [&] {
    std::vector<double> all;
    const Recipe recipe = *space.Decode(g);
    for (const Hop& hop : recipe.path) all.push_back(hop.scale);
    return all;
  };
  set(0, 0.3);
  set(1, 1.0);
  set(2, -0.5);
  set(3, 0.8);
  set(4, 0.7);
  set(5, -1.2);
  // Depths -1, 0, 1; hops 1 and 2 of at most 6: -0.6 and -0.2.
  EXPECT_THAT(scales(), ElementsAre(1.0, testing::DoubleNear(scale(0.3 - 1.0 - 0.8 * 0.6 - 1.2), 1e-12),
                                    testing::DoubleNear(scale(0.3 - 0.5 - 0.8 * 0.2 + 0.7), 1e-12)));
}

TEST(ScaleNetworkTest, HasFewGenesStartsUnscaledAndStaysInItsBounds) {
  const JobSpec spec = Spec({.sources = {"a", "b"},
                             .encoding = Encoding::kPublished,
                             .repeats = 3,
                             .scales = DataFlowSpace::Scales::kNetwork,
                             .scale_bounds = {0.5, 1.5},
                             .hidden_units = 4});
  const SearchSpace space = *SearchSpace::Create(spec, 32, 0, nullptr);
  EXPECT_EQ(space.dimension(), 192 + 28) << "a matrix has 4,096";
  EXPECT_TRUE((*space.Decode(Starts(space.genome()))).path.empty()) << "the first model as it is";
  std::vector<double> g(space.dimension(), 1.0);
  double low = 9, high = 0;
  for (const double output : {0.0, 1.0}) {
    for (int i = 0; i < 4; ++i) g[g.size() - 4 + i] = output;
    const Recipe recipe = *space.Decode(g);
    for (const Hop& hop : recipe.path) {
      low = std::min(low, hop.scale);
      high = std::max(high, hop.scale);
    }
  }
  EXPECT_EQ(low, 0.5);
  EXPECT_EQ(high, 1.5);
}

TEST(ScaleNetworkTest, HiddenUnitsAreOfANetworkOnly) {
  JobSpec spec = Spec({.sources = {"a", "b"}, .hidden_units = 4});
  spec.budget.candidates = 10;
  EXPECT_EQ(std::string(ValidateStages(spec).message()),
            "space.data_flow.hidden_units: is of the network of `scales: network`");
  spec.data_flow->scales = DataFlowSpace::Scales::kNetwork;
  EXPECT_TRUE(ValidateStages(spec).ok());
  spec.data_flow->hidden_units = 65;
  EXPECT_EQ(std::string(ValidateStages(spec).message()), "space.data_flow.hidden_units: 65 is not in [1, 64]");
}

TEST(DataFlowSpaceTest, AHopBudgetDropsTheWeakestSlots) {
  JobSpec spec = Spec({.sources = {"a", "b"}, .encoding = Encoding::kPublished, .repeats = 1, .max_hops = 4});
  const SearchSpace space = *SearchSpace::Create(spec, 3, 0, nullptr);
  //                              a0   a1   a2    b0   b1   b2      forced: a0 ... a2
  const std::vector<double> g = {0.9, 0.55, 0.52, 0.7, 0.6, 0.51};
  EXPECT_EQ(PathOf(*space.Decode(g), 3), "a0 b0 b1 a2");
}

TEST(DataFlowSpaceTest, AWinnerIsASourceWhateverItIs) {
  JobSpec spec = Spec({.sources = {"a", "b"}});
  spec.then.resize(1);
  spec.then[0].data_flow = DataFlowSpace{.sources = {"winner", "b"}, .ends = DataFlowSpace::Ends::kSearch};
  Recipe merge;
  merge.stacks = {{.name = "merged", .method = "linear", .sources = {"a", "b"}}};
  const SearchSpace over_merge = *SearchSpace::Create(spec, 2, 1, &merge);
  EXPECT_EQ(*over_merge.Decode(Starts(over_merge.genome())), [&] {
    Recipe whole = *over_merge.Decode(Starts(over_merge.genome()));
    whole.stacks = merge.stacks;
    whole.path.clear();
    return whole;
  }()) << "the search begins at the winner";
  // A path: its hops are the layers, with their scales; its ends are its own.
  Recipe path;
  path.stacks = {{.name = "b", .sources = {"b"}}, {.name = "a", .sources = {"a"}}};
  path.path = {{0, 0, 1}, {1, 0, 0.5}, {0, 1, 1}};
  path.head_from = "a";
  const SearchSpace over_path = *SearchSpace::Create(spec, 2, 1, &path);
  const Recipe start = *over_path.Decode(Starts(over_path.genome()));
  EXPECT_EQ(PathOf(start, 2), "b0 a0*0.50 b1");
  EXPECT_EQ(start.head_from, "a");
}

TEST(DataFlowSpaceTest, AFavouriteIsLeftRarelyWhateverTheNumberOfSources) {
  JobSpec spec = Spec({.sources = {"a", "b"}});
  spec.then.resize(1);
  spec.then[0].data_flow = DataFlowSpace{.sources = {"winner", "a", "b"}, .ends = DataFlowSpace::Ends::kSearch};
  Recipe merge;
  merge.stacks = {{.name = "merged", .method = "linear", .sources = {"a", "b"}}};
  const SearchSpace space = *SearchSpace::Create(spec, 2, 1, &merge);
  //                     leave source keep ...                 embedding   head
  ASSERT_EQ(space.dimension(), 2 * 3 + 2 * 2);
  EXPECT_EQ(space.genome().genes[0].start, 0.15);
  EXPECT_EQ(space.labels()[0].parameter, "source leaves winner");
  const Recipe recipe = *space.Decode(std::vector<double>{0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.9});
  EXPECT_EQ(PathOf(recipe, 2), "b0 merged1");
  EXPECT_EQ(recipe.embedding_from, "a");
  EXPECT_EQ(recipe.head_from, "merged");
}

TEST(JointSpaceTest, ThePathRunsThroughWhatTheParametersMerge) {
  JobSpec spec = Spec({.sources = {"merged", "b"}});
  spec.parameter.method = "linear";
  spec.parameter.sources = {"a", "b"};
  spec.parameter.bounds = {{"weight", {0, 1}}};
  const SearchSpace space = *SearchSpace::Create(spec, 2, 0, nullptr);
  ASSERT_EQ(space.dimension(), 2 + 4);
  const Recipe recipe = *space.Decode(std::vector<double>{0.25, 0.75, 0.1, 0.9, 0.9, 0.9});
  EXPECT_EQ(PathOf(recipe, 2), "merged0 b1");
  EXPECT_EQ(recipe.stacks[0].settings[0].source_parameters[1].at("weight"), 0.75);
}

TEST(ParameterSpaceTest, TheMethodIsAGeneAndParametersThatItDoesNotTakeAreLeftOut) {
  JobSpec spec;
  spec.models = {{"base", "m"}, {"a", "m/a"}, {"b", "m/b"}};
  spec.parameter.methods = {"ties", "linear"};
  spec.parameter.base = "base";
  spec.parameter.sources = {"a", "b"};
  spec.parameter.bounds = {{"weight", {0, 1}}, {"density", {0.1, 1}}};
  spec.parameter.fixed = {{"lambda", 0.9}};
  const SearchSpace space = *SearchSpace::Create(spec, 2, 0, nullptr);
  ASSERT_EQ(space.dimension(), 1 + 4);
  EXPECT_EQ(space.genome().genes[0].kind, Gene::Kind::kCategorical);
  const Stack ties = (*space.Decode(std::vector<double>{0.1, 1, 1, 0.5, 0.5})).stacks[0];
  EXPECT_EQ(ties.method, "ties");
  EXPECT_EQ(ties.base, "base");
  EXPECT_EQ(ties.settings[0].source_parameters[0].count("density"), 1u);
  EXPECT_EQ(ties.settings[0].parameters.at("lambda"), 0.9);
  const Stack linear = (*space.Decode(std::vector<double>{0.9, 1, 1, 0.5, 0.5})).stacks[0];
  EXPECT_EQ(linear.method, "linear");
  EXPECT_EQ(linear.base, "");
  EXPECT_EQ(linear.settings[0].source_parameters[0].count("density"), 0u);
  EXPECT_TRUE(linear.settings[0].parameters.empty());
}

TEST(ParameterSpaceTest, AFinerStageStartsAtTheCoarserOnesWinner) {
  JobSpec spec;
  spec.models = {{"a", "m/a"}, {"b", "m/b"}};
  spec.parameter.method = "linear";
  spec.parameter.sources = {"a", "b"};
  spec.parameter.bounds = {{"weight", {0, 2}}};
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 2};
  SearchStage layers;
  layers.parameter = spec.parameter;
  layers.parameter.granularity = {.kind = Granularity::Kind::kLayer};
  layers.parameter.start = "winner";
  spec.then = {layers};
  const SearchSpace blocks = *SearchSpace::Create(spec, 4, 0, nullptr);
  //                                                      embed, 0-1, 2-3, out of a; then of b
  const Recipe winner = *blocks.Decode(std::vector<double>{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8});
  const SearchSpace fine = *SearchSpace::Create(spec, 4, 1, &winner);
  const std::vector<double> starts = Starts(fine.genome());
  const std::vector<double> want = {0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8};
  ASSERT_EQ(starts.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(starts[i], want[i], 1e-12) << i;
}

TEST(DataFlowSpaceTest, MistakesNameTheField) {
  EXPECT_THAT(
      std::string(SearchSpace::Create(Spec({.sources = {"a", "b"}, .repeats = 16}), 80, 0, nullptr).status().message()),
      HasSubstr("space.data_flow.repeats: 16 times 80 layers make paths of up to 1280 hops; at most 1022"));
  EXPECT_THAT(std::string(SearchSpace::Create(Spec({.sources = {"a", "b"}, .scales = DataFlowSpace::Scales::kMatrix}), 80, 0,
                                              nullptr)
                              .status()
                              .message()),
              HasSubstr("scales: slot has fewer"));
  const SearchSpace space = *SearchSpace::Create(Spec({.sources = {"a", "b"}}), 2, 0, nullptr);
  EXPECT_THAT(std::string(space.Decode(std::vector<double>{0.5, 1.5, 0.5, 0.5}).status().message()),
              HasSubstr("genome[1] (keep in depth.0) is 1.5, not in [0, 1]"));
  EXPECT_THAT(std::string(space.Decode(std::vector<double>{0.5}).status().message()),
              HasSubstr("has 1 coordinates; this space has 4"));
}

}  // namespace
}  // namespace merganser

#include "coordinator/search_space/parameter_space.h"

#include <limits>
#include <set>

#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

JobSpec Spec() {
  JobSpec spec;
  spec.seed = 3;
  spec.dtype = "float16";
  spec.models = {{"base", "m/base"}, {"ja", "m/ja"}, {"math", "m/math"}};
  spec.parameter.method = "dare_ties";
  spec.parameter.base = "base";
  spec.parameter.sources = {"ja", "math"};
  spec.parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.parameter.bounds = {{"density", {0.1, 1}}, {"weight", {-0.5, 2}}};
  spec.parameter.fixed = {{"lambda", 0.9}};
  return spec;
}

std::vector<std::string> GroupNames(const JobSpec& spec, int num_layers) {
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, num_layers);
  const Recipe recipe = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.5));
  std::vector<std::string> names;
  for (const GroupSettings& settings : recipe.stacks[0].settings) names.push_back(settings.group.name);
  return names;
}

TEST(ParameterSpaceTest, GroupsFollowTheGranularity) {
  JobSpec spec = Spec();
  EXPECT_THAT(GroupNames(spec, 3), ElementsAre("embed", "layer.0", "layer.1", "layer.2", "out"));
  spec.parameter.granularity = {.kind = Granularity::Kind::kModel};
  EXPECT_THAT(GroupNames(spec, 3), ElementsAre("model"));
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 2};
  EXPECT_THAT(GroupNames(spec, 5), ElementsAre("embed", "layers.0-1", "layers.2-3", "layers.4-4", "out"));
  spec.parameter.granularity = {.kind = Granularity::Kind::kFilters, .filters = {"self_attn", "mlp"}};
  EXPECT_THAT(GroupNames(spec, 3), ElementsAre("self_attn", "mlp", "rest"));
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 2, .filters = {"mlp"}};
  EXPECT_THAT(GroupNames(spec, 3),
              ElementsAre("embed", "layers.0-1.mlp", "layers.0-1.rest", "layers.2-2.mlp", "layers.2-2.rest", "out"));
}

TEST(ParameterSpaceTest, FiltersSplitEachBlock) {
  JobSpec spec = Spec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 2, .filters = {"mlp"}};
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 4);
  EXPECT_EQ(decoder.dimension(), 2 * 2 * 6);
  const Recipe recipe = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.5));
  // The first group that a tensor belongs to is the one whose values it has.
  const auto group_of = [&](int layer, const std::string& name) -> std::string {
    for (const auto& s : recipe.stacks[0].settings) {
      if (Belongs(s.group, ModelPart::kLayers, layer, name)) return s.group.name;
    }
    return "";
  };
  EXPECT_EQ(group_of(1, "model.layers.1.mlp.up_proj.weight"), "layers.0-1.mlp");
  EXPECT_EQ(group_of(1, "model.layers.1.self_attn.q_proj.weight"), "layers.0-1.rest");
  EXPECT_EQ(group_of(2, "model.layers.2.mlp.up_proj.weight"), "layers.2-3.mlp");
}

TEST(ParameterSpaceTest, EveryTensorHasExactlyOneGroupByLayerAndByBlock) {
  for (const auto kind : {Granularity::Kind::kLayer, Granularity::Kind::kBlock}) {
    JobSpec spec = Spec();
    spec.parameter.granularity = {.kind = kind, .block = 2};
    const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 5);
    const Recipe recipe = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.5));
    const auto owners = [&](ModelPart part, int layer) {
      int count = 0;
      for (const auto& s : recipe.stacks[0].settings) count += Belongs(s.group, part, layer, "x.weight");
      return count;
    };
    EXPECT_EQ(owners(ModelPart::kEmbedding, -1), 1);
    EXPECT_EQ(owners(ModelPart::kNorm, -1), 1);
    EXPECT_EQ(owners(ModelPart::kHead, -1), 1);
    for (int layer = 0; layer < 5; ++layer) EXPECT_EQ(owners(ModelPart::kLayers, layer), 1) << layer;
  }
}

TEST(ParameterSpaceTest, GenesGoBySourceThenParameterThenGroup) {
  JobSpec spec = Spec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kFilters, .filters = {"mlp"}};
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 2);
  std::vector<std::string> order;
  for (const GeneLabel& gene : decoder.labels()) order.push_back(gene.source + " " + gene.parameter + " " + gene.group);
  EXPECT_THAT(order, ElementsAre("ja density mlp", "ja density rest", "ja weight mlp", "ja weight rest", "math density mlp",
                                 "math density rest", "math weight mlp", "math weight rest"));
}

TEST(ParameterSpaceTest, ParametersOfTheMethodComeLastAndOnceAGroup) {
  JobSpec spec = Spec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kFilters, .filters = {"mlp"}};
  spec.parameter.bounds = {{"lambda", {0.5, 1.5}}, {"weight", {0, 1}}};
  spec.parameter.fixed.clear();
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 2);
  std::vector<std::string> order;
  for (const GeneLabel& label : decoder.labels()) order.push_back(label.source + " " + label.parameter + " " + label.group);
  EXPECT_THAT(order, ElementsAre("ja weight mlp", "ja weight rest", "math weight mlp", "math weight rest", " lambda mlp",
                                 " lambda rest"));
  const Recipe recipe = *decoder.Decode(std::vector<double>{0, 0.25, 0.5, 1, 0.5, 1});
  const std::vector<GroupSettings>& settings = recipe.stacks[0].settings;
  EXPECT_DOUBLE_EQ(settings[0].parameters.at("lambda"), 1);
  EXPECT_DOUBLE_EQ(settings[1].parameters.at("lambda"), 1.5);
  EXPECT_DOUBLE_EQ(settings[1].source_parameters[0].at("weight"), 0.25);
  EXPECT_DOUBLE_EQ(settings[1].source_parameters[1].at("weight"), 1);
}

TEST(ParameterSpaceTest, SlerpIsSearchedByItsT) {
  JobSpec spec = Spec();
  spec.parameter.method = "slerp";
  spec.parameter.sources = {"ja"};
  spec.parameter.bounds = {{"t", {0, 1}}};
  spec.parameter.fixed.clear();
  spec.parameter.granularity = {.kind = Granularity::Kind::kModel};
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 2);
  ASSERT_EQ(decoder.dimension(), 1);
  EXPECT_DOUBLE_EQ(decoder.Decode(std::vector<double>{0.75})->stacks[0].settings[0].parameters.at("t"), 0.75);
}

TEST(ParameterSpaceTest, SwitchesAreChoicesAndWholeNumbersIntegers) {
  JobSpec spec = Spec();
  spec.parameter.base.clear();
  spec.parameter.method.clear();
  spec.parameter.methods = {"linear", "karcher"};
  spec.parameter.granularity = {};
  spec.parameter.bounds = {{"weight", {0, 2}}, {"normalize", {0, 1}}, {"max_iter", {3, 7}}};
  const auto decoder = *ParameterSpaceDecoder::Create(spec, 4);
  // The method, a weight per source, then those of the method as a whole in order of their names.
  const size_t sources = spec.parameter.sources.size();
  ASSERT_EQ(decoder.genome().genes.size(), 1 + sources + 2);
  const Gene& iterations = decoder.genome().genes[1 + sources];
  EXPECT_EQ(iterations.kind, Gene::Kind::kInteger);
  EXPECT_EQ(iterations.levels, 5);
  const Gene& normalize = decoder.genome().genes[2 + sources];
  EXPECT_EQ(normalize.kind, Gene::Kind::kCategorical);
  EXPECT_EQ(normalize.levels, 2);
  std::vector<double> genome(decoder.genome().genes.size(), 0.5);
  const auto parameters = [&] { return (*decoder.Decode(genome)).stacks[0].settings[0].parameters; };
  genome[0] = 0.9;  // karcher, which takes no `normalize`
  genome[1 + sources] = 0.99;
  EXPECT_EQ(parameters(), (std::map<std::string, double>{{"max_iter", 7}}));
  genome[1 + sources] = 0.2;
  EXPECT_EQ(parameters().at("max_iter"), 4);
  genome[0] = 0.1;  // linear
  genome[2 + sources] = 0.6;
  EXPECT_EQ(parameters(), (std::map<std::string, double>{{"normalize", 1}}));
  genome[2 + sources] = 0.4;
  EXPECT_EQ(parameters().at("normalize"), 0);

  // The next rung begins at what this one has found.
  genome[0] = 0.9;
  genome[1 + sources] = 0.7;  // 6
  const Recipe winner = *decoder.Decode(genome);
  spec.then.resize(1);
  spec.then[0].parameter = spec.parameter;
  spec.then[0].parameter.granularity.kind = Granularity::Kind::kLayer;
  spec.then[0].parameter.start = "winner";
  const auto finer = *ParameterSpaceDecoder::Create(spec, 4, 1, &winner);
  for (size_t i = 0; i < finer.labels().size(); ++i) {
    if (finer.labels()[i].parameter != "max_iter") continue;
    EXPECT_EQ(finer.genome().genes[i].LevelOf(finer.genome().genes[i].start), 3) << finer.labels()[i].group;
  }
}

TEST(ParameterSpaceTest, GenomesMapLinearlyToTheBounds) {
  JobSpec spec = Spec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kModel};
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 2);
  ASSERT_EQ(decoder.dimension(), 4);
  const Recipe recipe = *decoder.Decode(std::vector<double>{0, 0.5, 1, 0.25});
  const GroupSettings& settings = recipe.stacks[0].settings[0];
  EXPECT_DOUBLE_EQ(settings.source_parameters[0].at("density"), 0.1);
  EXPECT_DOUBLE_EQ(settings.source_parameters[0].at("weight"), 0.75);
  EXPECT_DOUBLE_EQ(settings.source_parameters[1].at("density"), 1);
  EXPECT_DOUBLE_EQ(settings.source_parameters[1].at("weight"), 0.125);
  EXPECT_DOUBLE_EQ(settings.parameters.at("lambda"), 0.9);
}

TEST(ParameterSpaceTest, AnyGenomeGivesParametersInsideTheBoundsAndEqualGenomesEqualRecipes) {
  Rng rng(11, 0);
  JobSpec spec = Spec();
  spec.parameter.bounds["weight"] = {0.1, 0.7};  // 0.1 + 1 * 0.6 rounds above 0.7
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 6);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> genome(decoder.dimension());
    for (double& x : genome) x = round == 0 ? 0 : round == 1 ? 1 : rng.Uniform();
    const Recipe recipe = *decoder.Decode(genome);
    EXPECT_EQ(recipe, *decoder.Decode(genome));
    for (const GroupSettings& settings : recipe.stacks[0].settings) {
      for (const auto& parameters : settings.source_parameters) {
        for (const auto& [name, bounds] : spec.parameter.bounds) {
          EXPECT_GE(parameters.at(name), bounds.low);
          EXPECT_LE(parameters.at(name), bounds.high);
        }
      }
    }
  }
}

TEST(ParameterSpaceTest, ARecipeIsSelfContainedAndSharesTheJobsMaskSeed) {
  JobSpec spec = Spec();
  spec.parameter.fixed["normalize"] = 0;
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 2);
  const Recipe a = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.2));
  const Recipe b = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.8));
  EXPECT_EQ(a.models, spec.models);
  EXPECT_EQ(a.tokenizer_from, "base");
  EXPECT_EQ(a.dtype, "float16");
  EXPECT_EQ(a.stacks[0].base, "base");
  EXPECT_EQ(a.mask_seed, b.mask_seed);
  spec.seed = 4;
  EXPECT_NE((*ParameterSpaceDecoder::Create(spec, 2)).Decode(std::vector<double>(decoder.dimension(), 0.2))->mask_seed,
            a.mask_seed);
}

TEST(ParameterSpaceTest, WithoutABaseTheFirstSourceGivesTheTokenizer) {
  JobSpec spec = Spec();
  spec.parameter.method = "linear";
  spec.parameter.base = "";
  spec.parameter.sources = {"math", "base", "ja"};
  spec.parameter.bounds = {{"weight", {0, 1}}};
  spec.parameter.fixed = {{"normalize", 0}};
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 2);
  EXPECT_EQ(decoder.Decode(std::vector<double>(decoder.dimension(), 0))->tokenizer_from, "math");
}

TEST(ParameterSpaceTest, GenomesThatDoNotFitAreRefusedByName) {
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(Spec(), 2);
  std::vector<double> genome(decoder.dimension(), 0.5);
  EXPECT_THAT(decoder.Decode({}).status().message(), HasSubstr("has 0 coordinates; this space has 16"));
  genome[5] = 1.5;
  EXPECT_THAT(decoder.Decode(genome).status().message(),
              HasSubstr("genome[5] (weight of ja in layer.0) is 1.5, not in [0, 1]"));
  genome[5] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(absl::IsInvalidArgument(decoder.Decode(genome).status()));
}

TEST(ParameterSpaceTest, SpacesThatDoNotFitTheModelAreRefusedByField) {
  JobSpec spec = Spec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 4};
  EXPECT_THAT(ParameterSpaceDecoder::Create(spec, 3).status().message(),
              HasSubstr("space.parameter.granularity.block: 4 is not in [1, 3]"));
  spec.parameter.granularity = {.kind = Granularity::Kind::kLayer};
  EXPECT_THAT(ParameterSpaceDecoder::Create(spec, 4000).status().message(),
              HasSubstr("the genome would have 16008 coordinates"));
}

TEST(ParameterSpaceTest, AModelThatNamesNoLayersIsSearchedAsAWholeOrByFilters) {
  JobSpec spec = Spec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kModel};
  EXPECT_THAT(GroupNames(spec, 0), ElementsAre("model"));
  spec.parameter.granularity = {.kind = Granularity::Kind::kFilters, .filters = {"conv", "fc"}};
  EXPECT_THAT(GroupNames(spec, 0), ElementsAre("conv", "fc", "rest"));
  for (const auto& [kind, name] :
       {std::pair(Granularity::Kind::kLayer, "layer"), std::pair(Granularity::Kind::kBlock, "block")}) {
    spec.parameter.granularity = {.kind = kind, .block = 2};
    EXPECT_EQ(
        ParameterSpaceDecoder::Create(spec, 0).status().message(),
        std::string("space.parameter.granularity: ") + name +
            " needs a number of layers, and the models' config.json has none; use granularity: model or {filters: [...]}");
  }
}

// Several models that see: what is no language model's has groups of its own, by layer or block.
TEST(ParameterSpaceTest, TowersAndProjectorsThatAreMergedAreGroups) {
  const auto groups = [](const JobSpec& spec, bool sees) {
    const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 1, 0, nullptr, sees);
    const Recipe recipe = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.5));
    std::vector<std::string> names;
    for (const GroupSettings& settings : recipe.stacks[0].settings) names.push_back(settings.group.name);
    return names;
  };
  JobSpec spec = Spec();
  EXPECT_THAT(groups(spec, false), ElementsAre("embed", "layer.0", "out"));
  EXPECT_THAT(groups(spec, true), ElementsAre("embed", "layer.0", "out", "vision_tower", "projector"));
  const ParameterSpaceDecoder decoder = *ParameterSpaceDecoder::Create(spec, 1, 0, nullptr, true);
  const Recipe recipe = *decoder.Decode(std::vector<double>(decoder.dimension(), 0.5));
  EXPECT_EQ(recipe.stacks[0].settings[3].group.filter, "vision_tower");
  EXPECT_TRUE(recipe.stacks[0].settings[4].group.parts.empty());
  // Of one that sees and its parts, the eyes stay as they are.
  spec.models[0].rename = spec.models[1].rename = {{"", "language_model."}};
  EXPECT_THAT(groups(spec, true), ElementsAre("embed", "layer.0", "out"));
  for (const auto& rename : {std::map<std::string, std::string>{},
                             std::map<std::string, std::string>{{"language_model.", "language_model."},
                                                                {"multi_modal_projector.", "multi_modal_projector."}}}) {
    spec.models[1].rename = rename;
    EXPECT_THAT(groups(spec, true), ElementsAre("embed", "layer.0", "out", "vision_tower", "projector"));
  }
  spec.parameter.granularity = {.kind = Granularity::Kind::kModel};
  EXPECT_THAT(groups(spec, true), ElementsAre("model"));
}

TEST(BaselineRecipesTest, ASourceIsTakenAsItIs) {
  const Recipe recipe = SourceRecipe(Spec(), "ja");
  ASSERT_EQ(recipe.stacks.size(), 1);
  EXPECT_EQ(recipe.stacks[0].method, "");
  EXPECT_THAT(recipe.stacks[0].sources, ElementsAre("ja"));
  EXPECT_THAT(recipe.models, ElementsAre(ModelRef{"ja", "m/ja"}));
  EXPECT_EQ(recipe.tokenizer_from, "ja");
}

// Whatever the source, eyes and rows are those of the model that sees.
TEST(BaselineRecipesTest, APartIsASourceWithinTheWholeModel) {
  JobSpec spec = Spec();
  for (ModelRef& model : spec.models) {
    if (model.name != "math") model.rename = {{"", "language_model."}};
  }
  for (const Recipe& recipe : {SourceRecipe(spec, "ja"), SourceRecipe(spec, "math"), AverageRecipe(spec)}) {
    EXPECT_EQ(recipe.models, spec.models);
    EXPECT_EQ(recipe.tokenizer_from, "math");
    EXPECT_EQ(recipe.config_from, "math");
    EXPECT_EQ(recipe.vocabulary_from, "math");
  }
  EXPECT_THAT(SourceRecipe(spec, "ja").stacks.at(0).sources, ElementsAre("ja"));
  spec.config_from = "ja";
  EXPECT_EQ(SourceRecipe(spec, "math").config_from, "ja");
  EXPECT_EQ(SourceRecipe(spec, "math").vocabulary_from, "math");
}

TEST(BaselineRecipesTest, TheAverageWeighsSourcesAlikeAndLeavesTheBaseOut) {
  const Recipe recipe = AverageRecipe(Spec());
  EXPECT_EQ(recipe.stacks[0].method, "linear");
  EXPECT_EQ(recipe.stacks[0].base, "");
  EXPECT_THAT(recipe.stacks[0].sources, ElementsAre("ja", "math"));
  const auto& parameters = recipe.stacks[0].settings.at(0).source_parameters;
  EXPECT_EQ(parameters.at(0), parameters.at(1));
}

}  // namespace
}  // namespace merganser

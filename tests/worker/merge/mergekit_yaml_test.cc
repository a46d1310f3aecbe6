#include "worker/merge/mergekit_yaml.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing_merge::OneGroup;

const std::vector<std::string>& Names() {
  static const auto* const names = new std::vector<std::string>{
      "lm_head.weight",
      "model.embed_tokens.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.1.mlp.up_proj.weight",
      "model.layers.10.mlp.up_proj.weight",
      "model.norm.weight",
  };
  return *names;
}

std::string Yaml(const Recipe& recipe) {
  const auto written = WriteMergekitYaml(recipe, Names());
  EXPECT_TRUE(written.ok()) << written.status();
  EXPECT_TRUE(written.ok() && written->yaml.has_value()) << (written.ok() ? written->reason : "");
  return written.ok() && written->yaml ? *written->yaml : "";
}

// Puts a group of one source in front of the others.
void AddGroup(TensorGroup group, double weight, Recipe& recipe) {
  GroupSettings settings;
  settings.group = std::move(group);
  settings.source_parameters.push_back({{"weight", weight}});
  recipe.stacks[0].settings.insert(recipe.stacks[0].settings.begin(), std::move(settings));
}

TEST(MergekitYamlTest, OneGroupNeedsNoFilters) {
  EXPECT_EQ(Yaml(OneGroup("ties", "base", {"ja", "en"}, {{{"weight", 0.25}, {"density", 0.5}}, {{"weight", 1e-5}}},
                          {{"normalize", 0}}, "bfloat16")),
            R"(merge_method: ties
base_model: "models/base"
dtype: float32
out_dtype: bfloat16
models:
  - model: "models/ja"
    parameters:
      weight: 0.25
      density: 0.5
  - model: "models/en"
    parameters:
      weight: 1.0e-05
      density: 1.0
parameters:
  lambda: 1.0
  normalize: false
  rescale: false
)");
}

TEST(MergekitYamlTest, LayersPartsAndSubstringsBecomeFiltersThatSelectTheSameTensors) {
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", 5}}});
  const auto add = [&](TensorGroup group, double weight) { AddGroup(std::move(group), weight, recipe); };
  add({"embed", {ModelPart::kEmbedding}}, 1);
  add({"mlp of 0", {ModelPart::kLayers}, 0, 1, "mlp"}, 2);
  add({"layer.1", {ModelPart::kLayers}, 1, 2}, 3);
  EXPECT_THAT(Yaml(recipe), HasSubstr(R"(      weight:
        - {filter: "model.layers.0.self_attn.q_proj.weight", value: 5.0}
        - {filter: "model.layers.0.mlp.up_proj.weight", value: 2.0}
        - {filter: "model.embed_tokens.", value: 1.0}
        - {filter: "model.layers.10.", value: 5.0}
        - {filter: "model.layers.1.", value: 3.0}
        - {filter: "model.norm.", value: 5.0}
        - {filter: "lm_head.", value: 5.0}
)"));
}

TEST(MergekitYamlTest, FirstMatchIsMergekitsRule) {
  const std::vector<FilteredValue> values = {{"mlp", 1}, {"layers.1.", 2}, {"*", 3}};
  EXPECT_EQ(FirstMatch(values, "model.layers.1.mlp.up")->value, 1);
  EXPECT_EQ(FirstMatch(values, "model.layers.1.norm")->value, 2);
  EXPECT_EQ(FirstMatch(values, "model.layers.11.norm")->value, 3);
  EXPECT_EQ(FirstMatch({{"mlp", 1}}, "norm"), nullptr);
}

TEST(MergekitYamlTest, LinearNamesItsTokenizerDonorAsBase) {
  Recipe recipe = OneGroup("linear", "", {"ja", "en"}, {{}, {}});
  recipe.tokenizer_from = "en";
  EXPECT_THAT(Yaml(recipe), HasSubstr("base_model: \"models/en\"\n"));
  EXPECT_THAT(Yaml(recipe), Not(HasSubstr("tokenizer_source")));
}

TEST(MergekitYamlTest, TheTokenizerOfASourceIsNamed) {
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{}});
  recipe.tokenizer_from = "ja";
  EXPECT_THAT(Yaml(recipe), HasSubstr("tokenizer_source: \"models/ja\"\n"));
}

TEST(MergekitYamlTest, RandomMasksAreSaidToDiffer) {
  EXPECT_THAT(Yaml(OneGroup("dare_ties", "base", {"ja"}, {{{"density", 0.5}}})), HasSubstr("# mergekit draws random masks"));
}

TEST(MergekitYamlTest, ACopyIsAPassthrough) {
  EXPECT_EQ(Yaml(OneGroup("", "", {"ja"}, {{}}, {}, "float16")),
            "merge_method: passthrough\ndtype: float32\nout_dtype: float16\nmodels:\n  - model: "
            "\"models/ja\"\n");
}

TEST(MergekitYamlTest, APathOfCopiesIsSlices) {
  Recipe recipe;
  recipe.models = {{"a", "models/a"}, {"b", "models/b", "lora"}};
  recipe.stacks = {{"a", "", "", {"a"}, {}}, {"b", "", "", {"b"}, {}}};
  recipe.path = {{0, 0}, {0, 1}, {1, 1}, {1, 2}, {1, 1}};
  recipe.tokenizer_from = "b";
  EXPECT_EQ(Yaml(recipe), R"(merge_method: passthrough
base_model: "models/b+lora"
dtype: float32
out_dtype: bfloat16
slices:
  - sources:
      - model: "models/a"
        layer_range: [0, 2]
  - sources:
      - model: "models/b+lora"
        layer_range: [1, 3]
  - sources:
      - model: "models/b+lora"
        layer_range: [1, 2]
  - sources:
      - model: "models/a"
        layer_range: [0, 0]
)");
  recipe.embedding_from = "b";
  EXPECT_THAT(Yaml(recipe), HasSubstr(R"(slices:
  - sources:
      - model: "models/b+lora"
        layer_range: [0, 0]
  - sources:
      - model: "models/a"
)"));
}

TEST(MergekitYamlTest, TheTokenizerBlockIsWritten) {
  Recipe recipe = OneGroup("linear", "", {"ja", "en"}, {{}, {}});
  recipe.tokenizer = {
      "union",
      {{"<a>", "en", "", -1, false, true}, {"<b>", "", "", -1, true}, {"<c>", "ja", "", 3}, {"<d>", "ja", "<e>"}},
      8};
  recipe.chat_template = "auto";
  EXPECT_THAT(Yaml(recipe), HasSubstr(R"(tokenizer:
  source: union
  tokens:
    "<a>":
      source: "models/en"
      force: true
    "<b>":
      source: {kind: zero}
    "<c>":
      source: {kind: model_token, model: "models/ja", token_id: 3}
    "<d>":
      source: {kind: model_token, model: "models/ja", token: "<e>"}
  pad_to_multiple_of: 8
chat_template: "auto"
)"));
}

TEST(MergekitYamlTest, WhatMergekitHasNoWordsForIsSaid) {
  const auto reason = [](auto change) {
    Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{}});
    change(recipe);
    return WriteMergekitYaml(recipe, Names(), {{}, false, /*reheaded=*/true})->reason;
  };
  EXPECT_THAT(reason([](Recipe& r) { r.vocabulary_from = "ja"; }), HasSubstr("vocabulary_from"));
  EXPECT_THAT(reason([](Recipe& r) { r.head = "tied"; }), HasSubstr("tied and untied heads"));
  EXPECT_THAT(reason([](Recipe& r) {
                r.tokenizer = {"union", {{"", "ja"}}};
              }),
              HasSubstr("the rows of 'ja' stand in for tokens"));
  EXPECT_THAT(reason([](Recipe& r) { r.config_from = "ja"; }), HasSubstr("a config of another model"));
  EXPECT_THAT(reason([](Recipe& r) {
                r.stacks.push_back({"copy", "", "", {"ja"}, {}});
                r.path = {{0, 0}, {1, 1}};
              }),
              HasSubstr("task_arithmetic does not copy stack 'copy'"));
  EXPECT_THAT(reason([](Recipe& r) {
                r.stacks.push_back({"other", "linear", "", {"ja"}, {}});
                r.path = {{0, 0}, {1, 1}};
              }),
              HasSubstr("one method; here are task_arithmetic and linear"));
  EXPECT_THAT(reason([](Recipe& r) {
                r.stacks.push_back({"outer", "linear", "", {r.stacks[0].name, "ja"}, {}});
              }),
              HasSubstr("a merge of a merge"));
}

TEST(MergekitYamlTest, ScalesThatMergekitCannotMultiplyAreToldApart) {
  const MergekitFacts known{{"mlp.up_proj.weight"}, false, false};
  const auto reason = [](Recipe recipe, std::vector<Hop> path, const MergekitFacts& facts) {
    recipe.path = std::move(path);
    return WriteMergekitYaml(recipe, Names(), facts)->reason;
  };
  const Recipe copy = OneGroup("", "", {"ja"}, {{}});
  EXPECT_EQ(reason(copy, {{0, 0, 0.5}, {0, 1, 2}}, known), "");
  EXPECT_THAT(reason(copy, {{0, 0, 0.5}}, {{"mlp.up_proj.weight"}, false, /*reheaded=*/true}),
              HasSubstr("path[0].scale: mergekit does not untie a head"));
  EXPECT_THAT(reason(copy, {{0, 0}, {0, 1, 0.5}}, {{"mlp.up_proj.weight"}, /*norm_plus_one=*/true, false}),
              HasSubstr("path[1].scale: the norm behind the MLP applies 1 + weight"));
  EXPECT_THAT(reason(copy, {{0, 0}, {0, 1, 0.5}}, {}), HasSubstr("the last operation of the MLP is not known"));
  EXPECT_THAT(reason(OneGroup("linear", "", {"ja"}, {{}}), {{0, 0}, {0, 1, 0.5}}, known),
              HasSubstr("mergekit scales only what passthrough copies, and this is a path of linear"));
  Recipe scaled = OneGroup("passthrough", "", {"ja"}, {{{"scale", 0.5}}});
  EXPECT_THAT(reason(scaled, {{0, 0}, {0, 1, 0.5}}, known), HasSubstr("is scaled twice"));
  scaled.stacks[0].arithmetic = Arithmetic::kMergekit;
  EXPECT_THAT(reason(scaled, {{0, 0}, {0, 1, 0.5}}, known), HasSubstr("rounds to its dtype before it scales"));
}

TEST(MergekitYamlTest, LayersOfTwoKindsHaveNoSlices) {
  Recipe recipe = OneGroup("", "", {"ja"}, {{}});
  recipe.path = {{0, 0}};
  std::vector<std::string> names = Names();
  names.push_back("vision_tower.layers.0.mlp.fc1.weight");
  EXPECT_THAT(WriteMergekitYaml(recipe, names)->reason, HasSubstr("layers of two kinds"));
}

TEST(MergekitYamlTest, ATokenizerOfAModelThatIsNotMergedCannotBeSaid) {
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{}});
  recipe.models.push_back({"other", "models/other"});
  recipe.tokenizer_from = "other";
  EXPECT_THAT(WriteMergekitYaml(recipe, Names())->reason, HasSubstr("tokenizer comes from 'other'"));
}

TEST(MergekitYamlTest, FiltersThatWouldCatchOtherTensorsCannotBeSaid) {
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", 5}}});
  AddGroup({"layer.3", {ModelPart::kLayers}, 3, 4}, 1, recipe);
  const auto written = WriteMergekitYaml(recipe, {"model.embed_tokens.weight", "model.layers.3.model.embed_tokens.weight"});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_FALSE(written->yaml.has_value());
  EXPECT_EQ(written->reason, "no list of filters selects tensor 'model.layers.3.model.embed_tokens.weight' alone");
}

TEST(MergekitYamlTest, BadRecipesAreRefusedLikeByThePlan) {
  Recipe unknown = OneGroup("tiess", "base", {"ja"}, {{}});
  EXPECT_THAT(std::string(WriteMergekitYaml(unknown, Names()).status().message()), HasSubstr("did you mean 'ties'?"));
  Recipe model = OneGroup("ties", "base", {"ja"}, {{}});
  model.models.clear();
  EXPECT_THAT(std::string(WriteMergekitYaml(model, Names()).status().message()), HasSubstr("the recipe has no model 'ja'"));
  Recipe density = OneGroup("ties", "base", {"ja"}, {{{"density", 2}}});
  EXPECT_THAT(std::string(WriteMergekitYaml(density, Names()).status().message()), HasSubstr("density 2 is not in [0, 1]"));
}

TEST(MergekitYamlTest, PathsAreQuoted) {
  Recipe recipe = OneGroup("", "", {"ja"}, {{}});
  recipe.models[0].path = "a \"b\"\\c: #d";
  EXPECT_THAT(Yaml(recipe), HasSubstr(R"(model: "a \"b\"\\c: #d")"));
}

}  // namespace
}  // namespace merganser

#include "worker/merge/mergekit_reader.h"

#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/mergekit_yaml.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::vector<std::string> Names(int layers) {
  std::vector<std::string> names = {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"};
  for (int i = 0; i < layers; ++i) {
    for (const char* tensor : {"input_layernorm", "self_attn.q_proj", "mlp.down_proj", "mlp.up_proj"}) {
      names.push_back(absl::StrCat("model.layers.", i, ".", tensor, ".weight"));
    }
  }
  return names;
}

// Every model has four layers of bfloat16; "short" has two, "mixed" several types, "absent" does not exist.
absl::StatusOr<ModelFacts> Facts(const ModelRef& model) {
  if (model.path == "absent") return absl::NotFoundError("no directory 'absent'");
  return ModelFacts{Names(model.path == "short" ? 2 : 4), model.path == "mixed" ? "" : "bfloat16"};
}

absl::StatusOr<Recipe> Read(const std::string& yaml) { return ReadMergekitYaml(yaml, "m.yml", Facts); }

Recipe ReadOk(const std::string& yaml) {
  const absl::StatusOr<Recipe> recipe = Read(yaml);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return recipe.ok() ? *recipe : Recipe{};
}

// What the stack says for a tensor: source `s`'s parameter, or (s == -1) the whole method's.
double ValueOf(const Stack& stack, const std::string& tensor, int s, const std::string& parameter) {
  const int g = GroupOf(stack, RoleOf(tensor), tensor);
  EXPECT_GE(g, 0) << tensor;
  if (g < 0) return -1;
  const GroupSettings& group = stack.settings[g];
  const auto& values = s < 0 ? group.parameters : group.source_parameters[s];
  const auto it = values.find(parameter);
  EXPECT_TRUE(it != values.end()) << tensor << " has no " << parameter;
  return it == values.end() ? -1 : it->second;
}

TEST(MergekitReaderTest, WholeModelsBecomeOneStackWithOneGroup) {
  const Recipe recipe = ReadOk(R"(
models:
  - model: org/ja@main
    parameters: {weight: 0.25, density: 0.5}
  - model: ./zoo/en/
    parameters: {weight: "1e-1"}
merge_method: ties
base_model: org/base
parameters: {normalize: false, int8_mask: true, density: 0.75}
dtype: float16
)");
  EXPECT_THAT(recipe.models,
              ElementsAre(ModelRef{"ja", "org/ja@main"}, ModelRef{"en", "./zoo/en/"}, ModelRef{"base", "org/base"}));
  ASSERT_THAT(recipe.stacks, SizeIs(1));
  const Stack& stack = recipe.stacks[0];
  EXPECT_EQ(stack.method, "ties");
  EXPECT_EQ(stack.base, "base");
  EXPECT_THAT(stack.sources, ElementsAre("ja", "en"));
  ASSERT_THAT(stack.settings, SizeIs(1));
  EXPECT_THAT(stack.settings[0].source_parameters,
              ElementsAre(std::map<std::string, double>{{"density", 0.5}, {"weight", 0.25}},
                          std::map<std::string, double>{{"density", 0.75}, {"weight", 0.1}}));
  EXPECT_EQ(stack.settings[0].parameters, (std::map<std::string, double>{{"normalize", 0}}));
  EXPECT_THAT(recipe.path, IsEmpty());
  EXPECT_EQ(recipe.dtype, "float16");
  EXPECT_EQ(recipe.tokenizer_from, "base");
}

TEST(MergekitReaderTest, AGradientIsLinearOverLayersAndItsFirstValueCountsOutsideOfThem) {
  const Recipe recipe = ReadOk(R"(
models:
  - {model: a, parameters: {weight: [0, 1]}}
  - {model: b, parameters: {weight: [1, 0, 0, 0]}}
merge_method: linear
)");
  const Stack& stack = recipe.stacks[0];
  const std::vector<double> a = {0, 1.0 / 3, 2.0 / 3, 1};
  for (int i = 0; i < 4; ++i) {
    const std::string name = absl::StrCat("model.layers.", i, ".mlp.up_proj.weight");
    EXPECT_DOUBLE_EQ(ValueOf(stack, name, 0, "weight"), a[i]) << i;
    EXPECT_DOUBLE_EQ(ValueOf(stack, name, 1, "weight"), i == 0 ? 1 : 0) << i;
  }
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}) {
    EXPECT_EQ(ValueOf(stack, name, 0, "weight"), 0) << name;
    EXPECT_EQ(ValueOf(stack, name, 1, "weight"), 1) << name;
  }
}

TEST(MergekitReaderTest, AGradientOfBooleansTakesSteps) {
  const Recipe recipe = ReadOk(R"(
models: [{model: a, parameters: {weight: 1}}]
merge_method: linear
parameters: {normalize: [true, false]}
)");
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.layers.2.mlp.up_proj.weight", -1, "normalize"), 1);
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.layers.3.mlp.up_proj.weight", -1, "normalize"), 0);
}

TEST(MergekitReaderTest, TheFirstFilterThatMatchesCountsAndTheNextScopeWhenNoneDoes) {
  const Recipe recipe = ReadOk(R"(
models:
  - model: a
    parameters:
      weight:
        - {filter: self_attn, value: [0.1, 0.4]}
        - {filter: "*", value: 0.9}
  - model: b
    parameters:
      weight: [{filter: mlp, value: 0.3}]
merge_method: linear
parameters:
  weight: 0.7
)");
  const Stack& stack = recipe.stacks[0];
  EXPECT_DOUBLE_EQ(ValueOf(stack, "model.layers.2.self_attn.q_proj.weight", 0, "weight"), 0.3);
  EXPECT_EQ(ValueOf(stack, "model.layers.2.mlp.up_proj.weight", 0, "weight"), 0.9);
  EXPECT_EQ(ValueOf(stack, "model.layers.2.mlp.up_proj.weight", 1, "weight"), 0.3);
  EXPECT_EQ(ValueOf(stack, "model.layers.2.input_layernorm.weight", 1, "weight"), 0.7);
  EXPECT_EQ(ValueOf(stack, "lm_head.weight", 1, "weight"), 0.7);
}

TEST(MergekitReaderTest, LayersThatAgreeShareGroups) {
  const Recipe recipe = ReadOk(R"(
models:
  - model: a
    parameters: {weight: [{filter: self_attn, value: 1}, {filter: mlp, value: 2}, {value: 3}]}
merge_method: linear
)");
  std::vector<std::string> names;
  for (const GroupSettings& group : recipe.stacks[0].settings) names.push_back(group.group.name);
  EXPECT_THAT(names, ElementsAre("embedding", "layers.0-3 self_attn", "layers.0-3 mlp", "layers.0-3", "norm", "head"));
}

TEST(MergekitReaderTest, TensorsThatNoFilterTellsApartAreNamed) {
  // For `up_proj` the first source's filter comes first, for `down_proj` the second one's.
  const Recipe recipe = ReadOk(R"(
models:
  - {model: a, parameters: {weight: [{filter: up, value: 1}, {filter: mlp, value: 2}, {value: 3}]}}
  - {model: b, parameters: {weight: [{filter: mlp.down_proj, value: 4}, {filter: mlp, value: 5}, {value: 6}]}}
merge_method: linear
)");
  const Stack& stack = recipe.stacks[0];
  EXPECT_EQ(ValueOf(stack, "model.layers.1.mlp.up_proj.weight", 0, "weight"), 1);
  EXPECT_EQ(ValueOf(stack, "model.layers.1.mlp.up_proj.weight", 1, "weight"), 5);
  EXPECT_EQ(ValueOf(stack, "model.layers.1.mlp.down_proj.weight", 0, "weight"), 2);
  EXPECT_EQ(ValueOf(stack, "model.layers.1.mlp.down_proj.weight", 1, "weight"), 4);
  EXPECT_EQ(ValueOf(stack, "model.layers.1.input_layernorm.weight", 1, "weight"), 6);
}

TEST(MergekitReaderTest, PassthroughSlicesAreAPathOverTheModels) {
  const Recipe recipe = ReadOk(R"(
slices:
  - sources: [{model: a, layer_range: [0, 2]}]
  - sources: [{model: b, layer_range: [1, 3]}]
  - sources: [{model: a, layer_range: [3, 4]}]
merge_method: passthrough
)");
  ASSERT_THAT(recipe.stacks, SizeIs(2));
  EXPECT_EQ(recipe.stacks[0].method, "");
  EXPECT_THAT(recipe.path, ElementsAre(Hop{0, 0}, Hop{0, 1}, Hop{1, 1}, Hop{1, 2}, Hop{0, 3}));
  EXPECT_EQ(recipe.embedding_from, "a");
  EXPECT_EQ(recipe.head_from, "a");
  EXPECT_EQ(recipe.dtype, "bfloat16");
}

TEST(MergekitReaderTest, AnEmptyLastSliceNamesTheHead) {
  const Recipe recipe = ReadOk(R"(
slices:
  - sources: [{model: a, layer_range: [0, 4]}]
  - sources: [{model: b, layer_range: [0, 0]}]
merge_method: passthrough
)");
  EXPECT_THAT(recipe.path, SizeIs(4));
  EXPECT_EQ(recipe.head_from, "b");
}

TEST(MergekitReaderTest, SlicesThatOnlyVaryParametersAreOneStack) {
  const Recipe recipe = ReadOk(R"(
slices:
  - sources: [{model: base, layer_range: [0, 2]}, {model: a, layer_range: [0, 2], parameters: {weight: 0.25}}]
  - sources: [{model: base, layer_range: [2, 4]}, {model: a, layer_range: [2, 4], parameters: {weight: 0.75}}]
merge_method: task_arithmetic
base_model: base
)");
  ASSERT_THAT(recipe.stacks, SizeIs(1));
  EXPECT_THAT(recipe.path, IsEmpty());
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.embed_tokens.weight", 0, "weight"), 0.25);
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.layers.1.mlp.up_proj.weight", 0, "weight"), 0.25);
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.layers.2.mlp.up_proj.weight", 0, "weight"), 0.75);
  EXPECT_EQ(ValueOf(recipe.stacks[0], "lm_head.weight", 0, "weight"), 0.75);
}

TEST(MergekitReaderTest, SlicesOfOtherLayersGetStacksWithOffsets) {
  const Recipe recipe = ReadOk(R"(
slices:
  - sources: [{model: a, layer_range: [0, 3]}, {model: b, layer_range: [1, 4]}]
    parameters: {weight: [0, 1]}
  - sources: [{model: a, layer_range: [3, 4]}, {model: b, layer_range: [3, 4]}]
    parameters: {weight: [0.25, 0.5]}
merge_method: linear
)");
  ASSERT_THAT(recipe.stacks, SizeIs(2));
  EXPECT_EQ(recipe.stacks[0].layer_offsets, (std::map<std::string, int>{{"b", 1}}));
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.layers.1.mlp.up_proj.weight", 0, "weight"), 0.5);
  // The one layer of a slice stands at the end of its gradient; norm and head at the beginning.
  EXPECT_EQ(ValueOf(recipe.stacks[1], "model.layers.3.mlp.up_proj.weight", 0, "weight"), 0.5);
  EXPECT_EQ(ValueOf(recipe.stacks[1], "lm_head.weight", 0, "weight"), 0.25);
  EXPECT_THAT(recipe.path, ElementsAre(Hop{0, 0}, Hop{0, 1}, Hop{0, 2}, Hop{1, 3}));
  EXPECT_EQ(recipe.embedding_from, "slice-1");
  EXPECT_EQ(recipe.head_from, "slice-2");
}

// Where mergekit computes in another type than it stores, its rounding cannot be repeated, and is not claimed to be.
TEST(MergekitReaderTest, MergekitsArithmeticIsThatOfTheResultsType) {
  const auto read = [](const std::string& types, const std::string& model = "b") {
    return ReadMergekitYaml(types + "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n  - {model: " +
                                model + ", parameters: {weight: 1}}\n",
                            "m.yml", Facts, Arithmetic::kMergekit);
  };
  for (const char* types : {"", "dtype: float32\n", "dtype: float16\nout_dtype: float16\n", "out_dtype: bfloat16\n"}) {
    const absl::StatusOr<Recipe> recipe = read(types);
    ASSERT_TRUE(recipe.ok()) << types << recipe.status();
    EXPECT_EQ(recipe->stacks[0].arithmetic, Arithmetic::kMergekit);
  }
  const auto refusal = [&](const std::string& types, const std::string& model = "b") {
    const absl::Status status = read(types, model).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << types;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal("dtype: float32\nout_dtype: bfloat16\n"),
              StartsWith("m.yml:1: mergekit computes in `dtype`, float32, and stores bfloat16"));
  EXPECT_THAT(refusal("dtype: float64\nout_dtype: float32\n"),
              HasSubstr("computes in `dtype`, float64, and stores float32"));
  EXPECT_THAT(refusal("out_dtype: float32\n"), HasSubstr("the types that the models are stored in, and stores float32"));
  EXPECT_THAT(refusal("", "mixed"), HasSubstr("write `dtype: bfloat16`"));
}

TEST(MergekitReaderTest, LorasAndRevisionsArePartOfAModelsIdentity) {
  const Recipe recipe = ReadOk(R"(
models:
  - {model: a@v1+org/lora@v2, parameters: {weight: 1}}
  - {model: a@v1, parameters: {weight: 1}}
  - {model: {model: {path: a, revision: v3}, lora: l}, parameters: {weight: 1}}
merge_method: linear
)");
  EXPECT_THAT(recipe.models,
              ElementsAre(ModelRef{"a", "a@v1", "org/lora@v2"}, ModelRef{"a-2", "a@v1"}, ModelRef{"a-3", "a@v3", "l"}));
}

TEST(MergekitReaderTest, TheTokenizerBlockIsRead) {
  const Recipe recipe = ReadOk(R"(
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: 1}}
merge_method: linear
tokenizer:
  source: union
  tokens:
    <|im_start|>: {source: b, force: true}
    <|x|>: {source: {kind: model_token, model: a, token: "<s>"}}
    <|y|>: {source: {kind: model_token, model: a, token_id: 7}}
    <|z|>: {source: {kind: zero}}
  pad_to_multiple_of: 8
chat_template: auto
)");
  EXPECT_EQ(recipe.tokenizer.source, "union");
  EXPECT_THAT(recipe.tokenizer.tokens,
              ElementsAre(TokenRule{"<|im_start|>", "b", "", -1, false, true}, TokenRule{"<|x|>", "a", "<s>"},
                          TokenRule{"<|y|>", "a", "", 7}, TokenRule{"<|z|>", "", "", -1, true}));
  EXPECT_EQ(recipe.tokenizer.pad_to_multiple_of, 8);
  EXPECT_EQ(recipe.chat_template, "auto");
  EXPECT_EQ(
      ReadOk("models: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\ntokenizer_source: a\n").tokenizer.source,
      "a");
  EXPECT_EQ(
      ReadOk("models: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\nbase_model: a\ntokenizer_source: base\n")
          .tokenizer.source,
      "a");
}

TEST(MergekitReaderTest, TheTypeIsTheOutTypeThenTheTypeThenTheModels) {
  const std::string head = "models: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\n";
  EXPECT_EQ(ReadOk(head).dtype, "bfloat16");
  EXPECT_EQ(ReadOk(head + "dtype: torch.float32").dtype, "float32");
  EXPECT_EQ(ReadOk(head + "dtype: float32\nout_dtype: float16").dtype, "float16");
  EXPECT_EQ(ReadOk(head + "dtype: float64\nout_dtype: float32").dtype, "float32");
}

TEST(MergekitReaderTest, TheModelOfTheTokenizerAlsoGivesItsChatTemplate) {
  const std::string models =
      "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\nmerge_method: linear\n";
  EXPECT_EQ(ReadOk(models).tokenizer_from, "a");
  EXPECT_EQ(ReadOk(models + "tokenizer: {source: b}\n").tokenizer_from, "b");
  EXPECT_EQ(ReadOk(models + "tokenizer: {source: union}\n").tokenizer_from, "a");
}

TEST(MergekitReaderTest, TheModuleOfAPlainModelMayBeNamed) {
  const Recipe recipe = ReadOk(R"(
modules:
  default:
    models: [{model: a}, {model: b}]
    parameters: {weight: 2}
merge_method: linear
parameters: {weight: 1}
)");
  EXPECT_EQ(ValueOf(recipe.stacks[0], "model.norm.weight", 1, "weight"), 2);
}

TEST(MergekitReaderTest, WhatMergekitTakesWithoutEffectIsTakenWithoutEffect) {
  const Recipe recipe = ReadOk(R"(
models: [{model: a, parameters: {weight: 1, density: 0.5}}]
merge_method: task_arithmetic
base_model: base
parameters: {int8_mask: true, rescale: true}
)");
  EXPECT_EQ(recipe.stacks[0].settings[0].source_parameters[0], (std::map<std::string, double>{{"weight", 1}}));
  EXPECT_TRUE(recipe.stacks[0].settings[0].parameters.empty());
}

// nuslerp and multislerp merge task vectors where there is a base, and models where there is none.
TEST(MergekitReaderTest, AnOptionalBaseIsABaseWhereItIsWritten) {
  const std::string models = "models: [{model: a}, {model: b}]\nmerge_method: nuslerp\nparameters: {weight: 1}\n";
  EXPECT_EQ(ReadOk(models).stacks[0].base, "");
  const Recipe recipe = ReadOk(models + "base_model: base\n");
  EXPECT_EQ(recipe.stacks[0].base, "base");
  EXPECT_THAT(recipe.stacks[0].sources, ElementsAre("a", "b"));
  const auto written = WriteMergekitYaml(ReadOk(models), Names(4));
  ASSERT_TRUE(written.ok() && written->yaml.has_value()) << written.status();
  EXPECT_THAT(*written->yaml, testing::Not(HasSubstr("base_model")));
  EXPECT_EQ(ReadOk(*written->yaml).stacks[0].base, "");
}

TEST(MergekitReaderTest, WhatIsWrittenReadsBackAsTheSameSettings) {
  Recipe recipe = ReadOk(R"(
models:
  - {model: a, parameters: {weight: [0, 1], density: [{filter: mlp, value: 0.5}, {value: 1}]}}
  - {model: b, parameters: {weight: 0.125}}
merge_method: ties
base_model: base
parameters: {normalize: false, lambda: 1.5}
)");
  const auto written = WriteMergekitYaml(recipe, Names(4));
  ASSERT_TRUE(written.ok() && written->yaml.has_value()) << written.status();
  const Recipe back = ReadOk(*written->yaml);
  for (const std::string& name : Names(4)) {
    for (int s : {0, 1})
      EXPECT_EQ(ValueOf(back.stacks[0], name, s, "weight"), ValueOf(recipe.stacks[0], name, s, "weight")) << name;
    EXPECT_EQ(ValueOf(back.stacks[0], name, 0, "density"), ValueOf(recipe.stacks[0], name, 0, "density")) << name;
    EXPECT_EQ(ValueOf(back.stacks[0], name, -1, "lambda"), 1.5);
    EXPECT_EQ(ValueOf(back.stacks[0], name, -1, "normalize"), 0);
  }
  EXPECT_EQ(back.dtype, recipe.dtype);
}

struct BadCase {
  std::string name;
  std::string yaml;
  std::string message;  // begins so
};

class BadMergekitYamlTest : public testing::TestWithParam<BadCase> {};

TEST_P(BadMergekitYamlTest, IsRefusedByLine) {
  const absl::StatusOr<Recipe> recipe = Read(GetParam().yaml);
  ASSERT_FALSE(recipe.ok());
  EXPECT_THAT(std::string(recipe.status().message()), StartsWith(GetParam().message));
}

const char kOne[] = "models: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\n";

INSTANTIATE_TEST_SUITE_P(
    All, BadMergekitYamlTest,
    testing::Values(
        BadCase{"NotYaml", "a: [", "m.yml:1: not valid YAML: "},
        BadCase{"NotText", "merge_method: linear\nmodels:\n  - model: a\xff\n", "m.yml:3: not UTF-8 text"},
        BadCase{"NotAMap", "- a\n", "m.yml:1: the file must hold a map, not a list"},
        BadCase{"MisspeltKey", std::string(kOne) + "tokeniser_source: union\n",
                "m.yml:3: unknown key 'tokeniser_source' of the configuration; did you mean 'tokenizer_source'?"},
        BadCase{"KeyTwice", std::string(kOne) + "merge_method: linear\n",
                "m.yml:3: key 'merge_method' of the configuration is given twice"},
        BadCase{"NoMethod", "models: [{model: a}]\n", "m.yml:1: merge_method is missing"},
        BadCase{"MisspeltMethod", "merge_method: tise\nmodels: [{model: a}]\n",
                "m.yml:1: unknown merge_method 'tise'; did you mean 'ties'?"},
        BadCase{"MisspeltParameter", "models:\n  - model: a\n    parameters:\n      wieght: 1\nmerge_method: linear\n",
                "m.yml:4: linear takes no parameter 'wieght'; did you mean 'weight'?"},
        BadCase{"ParameterOfAnotherMethod", std::string(kOne) + "parameters: {density: 0.5}\n",
                "m.yml:3: linear takes no parameter 'density'"},
        BadCase{"ParameterInTheWrongPlace",
                "models:\n  - {model: a, parameters: {weight: 1, normalize: true}}\nmerge_method: linear\n",
                "m.yml:2: parameter 'normalize' of linear is one of the merge, not of a model"},
        BadCase{"MissingWeight", "models:\n  - {model: a, parameters: {weight: 1}}\n  - model: b\nmerge_method: linear\n",
                "m.yml:3: parameter 'weight' of model 'b' is missing for tensor '"},
        BadCase{"UnlistedBaseOfLinear", std::string(kOne) + "base_model: base\n",
                "m.yml:1: parameter 'weight' of model 'base' is missing for tensor 'model.layers.0.input_layernorm.weight'; "
                "linear merges its base_model"},
        BadCase{"NoBase", "models: [{model: a, parameters: {weight: 1}}]\nmerge_method: ties\n",
                "m.yml:2: ties needs a base_model"},
        BadCase{"ParametersOfTheBase",
                "models:\n  - {model: base, parameters: {weight: 1}}\n  - {model: a, parameters: {weight: "
                "1}}\nmerge_method: ties\nbase_model: base\n",
                "m.yml:2: parameter 'weight' of the base model: ties takes none of its base"},
        BadCase{"NothingButTheBase", "models: [{model: a}]\nmerge_method: ties\nbase_model: a\n",
                "m.yml:1: ties has nothing to merge"},
        BadCase{"AbsentModel", "merge_method: linear\nmodels:\n  - model: absent\n", "m.yml:3: no directory 'absent'"},
        BadCase{"ModelTwice", "merge_method: linear\nmodels:\n  - model: a\n  - model: a\n",
                "m.yml:4: model 'a' is listed twice, first in line 3"},
        BadCase{"OtherNumberOfLayers",
                "merge_method: linear\nparameters: {weight: 1}\nmodels:\n  - model: a\n  - model: short\n",
                "m.yml:5: model 'short' has 2 layers, and 'a' 4"},
        BadCase{"BaseWithOtherNumberOfLayers",
                "merge_method: ties\nparameters: {weight: 1}\nmodels:\n  - model: a\nbase_model: short\n",
                "m.yml:5: base_model 'short' has 2 layers, and the models have 4"},
        BadCase{"LayerRangeBeyondTheModel",
                "merge_method: passthrough\nslices:\n  - sources:\n      - {model: a, layer_range: [2, 5]}\n",
                "m.yml:4: layer_range [2, 5) of model 'a', which has 4 layers"},
        BadCase{"LayerRangeBackwards",
                "merge_method: passthrough\nslices:\n  - sources:\n      - {model: a, layer_range: [2, 1]}\n",
                "m.yml:4: layer_range [2, 1) ends before it begins"},
        BadCase{"UnequalLayerRanges",
                "merge_method: linear\nslices:\n  - sources:\n      - {model: a, layer_range: [0, 2]}\n      - {model: b, "
                "layer_range: [0, 3]}\n",
                "m.yml:5: layer_range [0, 3) has 3 layers; the slice's first source has 2"},
        BadCase{"PassthroughOfTwo", "merge_method: passthrough\nmodels: [{model: a}, {model: b}]\n",
                "m.yml:2: passthrough takes one model"},
        BadCase{"UnusedModel", std::string(kOne) + "tokenizer_source: other\n",
                "m.yml:3: model 'other' is named but never merged"},
        BadCase{"ModelsAndSlices", std::string(kOne) + "slices: [{sources: [{model: a, layer_range: [0, 1]}]}]\n",
                "m.yml:1: exactly one of models, slices and modules is needed; given are 2"},
        BadCase{
            "ResidualWeight",
            "merge_method: passthrough\nslices:\n  - sources: [{model: a, layer_range: [0, 1]}]\n    residual_weight: 1\n",
            "m.yml:4: residual_weight has no effect"},
        BadCase{"OutOfBounds",
                "merge_method: ties\nbase_model: base\nmodels:\n  - model: a\n    parameters:\n      weight: 1\n      "
                "density: 1.25\n",
                "m.yml:7: density 1.25 is not in [0, 1]"},
        BadCase{
            "GradientOutOfBounds",
            "merge_method: ties\nbase_model: base\nmodels:\n  - {model: a, parameters: {weight: 1, density: [0.5, -1]}}\n",
            "m.yml:4: density -1 is not in [0, 1]"},
        BadCase{"HalfASwitch", std::string(kOne) + "parameters: {normalize: 0.5}\n",
                "m.yml:3: normalize 0.5 is neither 0 nor 1"},
        BadCase{"FilterWithoutTheRest",
                "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: [{filter: mlp, value: 1}]}}\n",
                "m.yml:3: parameter 'weight' of model 'a' is missing for tensor 'model.layers.0.input_layernorm.weight'"},
        BadCase{"SlerpOfThree",
                "merge_method: slerp\nmodels: [{model: a}, {model: b}]\nbase_model: base\nparameters: {t: 0.5}\n",
                "m.yml:2: slerp merges its base with exactly 1 source; the stack has 2"},
        BadCase{"NuslerpOfOne", "merge_method: nuslerp\nmodels: [{model: a, parameters: {weight: 1}}]\n",
                "m.yml:2: nuslerp merges exactly 2 sources; the stack has 1"},
        BadCase{"ModelStockOfOne", "merge_method: model_stock\nmodels: [{model: a}]\nbase_model: base\n",
                "m.yml:2: model_stock merges its base with at least 2 sources; the stack has 1"},
        BadCase{"BaseOutsideOfTheSlice",
                "merge_method: ties\nbase_model: base\nparameters: {weight: 1}\nslices:\n  - sources: [{model: a, "
                "layer_range: [0, 4]}]\n",
                "m.yml:5: base_model 'base' is not among the sources of this slice"},
        BadCase{"TwoRevisionsOfALora", "merge_method: linear\nmodels:\n  - model: a+b@c@d\n",
                "m.yml:3: model 'b@c@d' has more than one '@'"},
        BadCase{"NotANumber", "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: heavy}}\n",
                "m.yml:3: weight: 'heavy' is neither a number nor true or false"},
        BadCase{"NotFinite", "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: inf}}\n",
                "m.yml:3: weight: inf is not finite"},
        BadCase{"EmptyGradient", "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: []}}\n",
                "m.yml:3: weight: an empty list"},
        BadCase{"MisspeltFilter",
                "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: [{fliter: x, value: 1}]}}\n",
                "m.yml:3: unknown key 'fliter' of weight; did you mean 'filter'?"},
        BadCase{
            "FilterThatIsNeverTried",
            "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: [{value: 1}, {filter: mlp, value: 2}]}}\n",
            "m.yml:3: weight: no tensor gets here"},
        BadCase{"FilterOfNoTensor",
                "merge_method: linear\nmodels:\n  - model: a\n    parameters:\n      weight:\n"
                "        - {filter: mpl, value: 1}\n        - {value: 2}\n",
                "m.yml:6: filter 'mpl' is part of no tensor's name; did you mean 'mlp'?"},
        BadCase{"DottedFilterOfNoTensor",
                "merge_method: linear\nmodels:\n  - model: a\nparameters:\n  weight: [{filter: mlp.dwn_proj, value: 1}, "
                "{value: 2}]\n",
                "m.yml:5: filter 'mlp.dwn_proj' is part of no tensor's name; did you mean 'mlp.down_proj'?"},
        BadCase{"TwoRevisions", "merge_method: linear\nmodels:\n  - model: a@b@c\n",
                "m.yml:3: model 'a@b@c' has more than one '@'"},
        BadCase{"TwoLoras", "merge_method: linear\nmodels:\n  - model: a+b+c\n",
                "m.yml:3: model 'a+b+c' has more than one '+'"},
        BadCase{"UnknownDtype", std::string(kOne) + "dtype: bfloat61\n",
                "m.yml:3: dtype: weights cannot be merged as 'bfloat61'; did you mean 'bfloat16'?"},
        BadCase{"TokenWithoutSource", std::string(kOne) + "tokenizer: {tokens: {x: {force: true}}}\n",
                "m.yml:3: token 'x' has no source"},
        BadCase{"UnknownKind", std::string(kOne) + "tokenizer: {tokens: {x: {source: {kind: zeros}}}}\n",
                "m.yml:3: unknown kind 'zeros'; did you mean 'zero'?"},
        BadCase{"BothTokenizers", std::string(kOne) + "tokenizer: {source: union}\ntokenizer_source: union\n",
                "m.yml:3: tokenizer_source and tokenizer exclude each other"},
        BadCase{"UnknownChatTemplate", std::string(kOne) + "chat_template: chatmlx\n",
                "m.yml:3: unknown chat_template 'chatmlx'; did you mean 'chatml'?"},
        BadCase{"AModuleForAPart", "merge_method: linear\nmodules:\n  vision_tower: {models: [{model: a}]}\n",
                "m.yml:3: no module has tensor 'lm_head.weight'; add `default`"},
        BadCase{"AModuleForNothing",
                "merge_method: linear\nparameters: {weight: 1}\nmodules:\n  default: {models: [{model: a}]}\n"
                "  vision_tower: {models: [{model: a}]}\n",
                "m.yml:5: module 'vision_tower' has no tensor"},
        BadCase{"ModulesOfOtherModels",
                "merge_method: linear\nparameters: {weight: 1}\nmodules:\n  default: {models: [{model: a}]}\n"
                "  lm_head: {models: [{model: b}]}\n",
                "m.yml:5: module 'lm_head' and module 'default' must have the same models in the same order"},
        BadCase{"SlicesOfOneOfSeveralModules",
                "merge_method: linear\nmodules:\n  default: {models: [{model: a}]}\n"
                "  lm_head: {slices: [{sources: [{model: a, layer_range: [0, 4]}]}]}\n",
                "m.yml:4: slices of module 'lm_head': of several modules each has its models whole; write models"},
        BadCase{"AModuleTwice",
                "merge_method: linear\nmodules:\n  lm_head: {models: [{model: a}]}\n  lm_head: {models: [{model: a}]}\n",
                "m.yml:4: module 'lm_head' is given twice"},
        BadCase{"Float64", std::string(kOne) + "dtype: float64\n",
                "m.yml:3: dtype: results are not stored as float64; write `dtype: float32`"},
        BadCase{"Float64Out", std::string(kOne) + "out_dtype: float64\n",
                "m.yml:3: out_dtype: results are not stored as float64; write `out_dtype: float32`"},
        BadCase{"AValueAmongFilters",
                "models: [{model: a, parameters: {weight: [{filter: mlp, value: 1}, 0.5]}}]\nmerge_method: linear\n",
                "m.yml:1: weight: a value among {filter, value}; write {value: ...}"},
        BadCase{"OverrideArchitecture", "merge_method: linear\nmodels:\n  - model: {model: a, override_architecture: X}\n",
                "m.yml:3: override_architecture: "}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser

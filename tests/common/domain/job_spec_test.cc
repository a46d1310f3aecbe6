#include "common/domain/job_spec.h"

#include <cmath>
#include <functional>

#include "common/domain/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::StartsWith;

JobSpec GoodSpec() {
  JobSpec spec;
  spec.name = "ja-math";
  spec.models = {{"base", "/m/base"}, {"ja", "/m/ja"}, {"math", "/m/math"}};
  spec.parameter = {"task_arithmetic", "base", {"ja", "math"}, {}, {{"weight", {0, 2}}}, {}, {}, ""};
  spec.objectives = {{"ja_math", "acc_ja"}};
  BenchmarkSpec benchmark;
  benchmark.name = "ja_math";
  benchmark.data = "/d/train.jsonl";
  spec.benchmarks = {benchmark};
  spec.budget.candidates = 400;
  return spec;
}

// A merge, then paths through it and a model.
JobSpec StagedSpec() {
  JobSpec spec = GoodSpec();
  SearchStage paths;
  paths.data_flow = DataFlowSpace{.sources = {"winner", "ja"}};
  paths.budget.candidates = 50;
  spec.then = {paths};
  return spec;
}

TEST(JobSpecTest, StagedAndJointSpecsAreValid) {
  EXPECT_EQ(Validate(StagedSpec()), absl::OkStatus());
  JobSpec joint = GoodSpec();
  joint.data_flow = DataFlowSpace{.sources = {"merged", "ja"}};
  EXPECT_EQ(Validate(joint), absl::OkStatus());
  JobSpec paths = GoodSpec();
  paths.parameter = {};
  paths.data_flow = DataFlowSpace{.sources = {"math", "ja", "base"}};
  EXPECT_EQ(Validate(paths), absl::OkStatus());
  EXPECT_EQ(TokenizerModel(paths), "math");
  EXPECT_EQ(SourceNames(paths), (std::vector<std::string>{"math", "ja", "base"}));
  JobSpec methods = GoodSpec();
  methods.parameter.method = "";
  methods.parameter.methods = {"ties", "linear"};
  methods.parameter.bounds["density"] = {0.1, 1};
  EXPECT_EQ(Validate(methods), absl::OkStatus());
}

// Language models merged into one that sees.
TEST(JobSpecTest, TheModelThatOthersArePartsOfGivesTheTokenizer) {
  JobSpec spec = GoodSpec();
  spec.models[0].rename = spec.models[1].rename = {{"", "language_model."}};
  EXPECT_EQ(Validate(spec), absl::OkStatus());
  EXPECT_EQ(TokenizerModel(spec), "math");
  spec.config_from = spec.models[0].name;
  EXPECT_EQ(Validate(spec), absl::OkStatus());
  spec.config_from = "nobody";
  EXPECT_EQ(Validate(spec).message(), "config_from: no model 'nobody'");
  spec.config_from = "math";
  for (ModelRef& model : spec.models) model.rename.clear();
  EXPECT_THAT(std::string(Validate(spec).message()), StartsWith("config_from: no model is a part of another one"));
  spec.config_from.clear();
  spec.models[0].rename = {{"", "language_model."}};
  EXPECT_EQ(Validate(spec), absl::OkStatus());  // the other two see
  EXPECT_EQ(TokenizerModel(spec), "ja");
  for (ModelRef& model : spec.models) model.rename = {{"", "language_model."}};
  EXPECT_THAT(std::string(Validate(spec).message()), StartsWith("models: all 3 are parts of a model (rename)"));
}

TEST(JobSpecTest, GoodSpecIsValid) { EXPECT_EQ(Validate(GoodSpec()), absl::OkStatus()); }

struct Case {
  std::string name;
  std::function<void(JobSpec&)> spoil;
  std::string message;  // the start of it: field, value, bound
};

class BadJobSpecTest : public testing::TestWithParam<Case> {};

TEST_P(BadJobSpecTest, IsRefusedNamingFieldValueAndBound) {
  JobSpec spec = GoodSpec();
  GetParam().spoil(spec);
  const absl::Status status = Validate(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), StartsWith(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadJobSpecTest,
    testing::Values(
        Case{"Name", [](JobSpec& s) { s.name = "a b"; }, "name: 'a b' is not 1 to 63 letters"},
        Case{"DType", [](JobSpec& s) { s.dtype = "int8"; }, "dtype: unknown 'int8'; known: bfloat16"},
        Case{"NoModels", [](JobSpec& s) { s.models.clear(); }, "models: at least one"},
        Case{"ReservedModel", [](JobSpec& s) { s.models[0].name = "average"; }, "models.average: "},
        Case{"NoPath", [](JobSpec& s) { s.models[1].path = ""; }, "models.ja.path: missing"},
        Case{"UnusedModel", [](JobSpec& s) { s.parameter.sources.pop_back(); }, "models.math: used by no part"},
        Case{"UnknownMethod", [](JobSpec& s) { s.parameter.method = "tie"; },
             "space.parameter.method: unknown method 'tie'; known: linear, task_arithmetic, ties"},
        Case{"NoBase", [](JobSpec& s) { s.parameter.base = ""; }, "space.parameter.base: missing"},
        Case{"BaseNotTaken", [](JobSpec& s) { s.parameter.method = "linear"; },
             "space.parameter.base: linear takes no base"},
        Case{"UnknownBase", [](JobSpec& s) { s.parameter.base = "bas"; }, "space.parameter.base: no model 'bas'"},
        Case{"UnknownSource", [](JobSpec& s) { s.parameter.sources[0] = "jp"; },
             "space.parameter.sources[0]: no model 'jp'; known: base, ja, math"},
        Case{"SourceTwice", [](JobSpec& s) { s.parameter.sources[1] = "ja"; },
             "space.parameter.sources[1]: 'ja' is named twice"},
        Case{"BoundsInverted",
             [](JobSpec& s) {
               s.parameter.bounds["weight"] = {2, 0};
             },
             "space.parameter.bounds.weight: low 2 is not below high 0"},
        Case{"BoundsNotFinite",
             [](JobSpec& s) {
               s.parameter.bounds["weight"] = {0, INFINITY};
             },
             "space.parameter.bounds.weight: bounds must be finite"},
        Case{"UnknownParameter",
             [](JobSpec& s) {
               s.parameter.bounds["density"] = {0, 1};
             },
             "space.parameter.bounds.density: task_arithmetic has no such parameter; known: lambda, normalize, weight"},
        Case{"SwitchSearchedInOtherBoundsThanItsOwn",
             [](JobSpec& s) {
               s.parameter.bounds["normalize"] = {0, 0.5};
             },
             "space.parameter.bounds.normalize: [0, 0.5] are not the bounds of a switch, [0, 1]; to set it, fix it (fixed)"},
        Case{"WholeNumbersSearchedBetweenOthers",
             [](JobSpec& s) {
               s.parameter.method = "karcher";
               s.parameter.base.clear();
               s.parameter.sources.push_back("base");
               s.parameter.bounds = {{"max_iter", {1, 9.5}}};
             },
             "space.parameter.bounds.max_iter: [1, 9.5] are not whole numbers"},
        Case{"DensityAboveOne",
             [](JobSpec& s) {
               s.parameter.method = "ties";
               s.parameter.bounds["density"] = {0, 1.5};
             },
             "space.parameter.bounds.density: [0, 1.5] is not within [0, 1]"},
        Case{"FixedAndSearched", [](JobSpec& s) { s.parameter.fixed["weight"] = 1; },
             "space.parameter.fixed.weight: is searched (bounds) and fixed"},
        Case{"NothingToSearch", [](JobSpec& s) { s.parameter.bounds.clear(); }, "space.parameter.bounds: nothing to search"},
        Case{"NoBenchmark", [](JobSpec& s) { s.benchmarks.clear(); }, "benchmarks: at least one"},
        Case{"TooManyNewTokens", [](JobSpec& s) { s.benchmarks[0].max_new_tokens = 100'000; },
             "benchmarks.ja_math.max_new_tokens: 100000 is not in [1, 32768]"},
        Case{"HeldOutHasTheSameName", [](JobSpec& s) { s.held_out = s.benchmarks; },
             "held_out.ja_math: a benchmark of the search has this name"},
        Case{"NoObjective", [](JobSpec& s) { s.objectives.clear(); }, "objectives: at least one"},
        Case{"ObjectiveOfNoBenchmark", [](JobSpec& s) { s.objectives[0].benchmark = "x"; },
             "objectives[0].benchmark: no benchmark 'x'; known: ja_math"},
        Case{"NoBudget", [](JobSpec& s) { s.budget.candidates = 0; }, "budget: give candidates"},
        Case{"TooManyCandidates", [](JobSpec& s) { s.budget.candidates = limits::kCandidatesMax + 1; },
             "budget.candidates: 1000001 is not in [1, 1000000]"},
        Case{"WinnerInTheFirstStage",
             [](JobSpec& s) {
               s.data_flow = DataFlowSpace{.sources = {"winner", "ja"}};
             },
             "space.data_flow.sources[0]: the first stage has no winner"},
        Case{"MergedOfNothing",
             [](JobSpec& s) {
               s = StagedSpec();
               s.then[0].data_flow->sources[0] = "merged";
             },
             "then[0].space.data_flow.sources[0]: is what the stage's space.parameter makes, and there is none"},
        Case{"MergedIsNotUsed",
             [](JobSpec& s) {
               s.data_flow = DataFlowSpace{.sources = {"ja", "math"}};
             },
             "space.data_flow.sources: name 'merged' too"},
        Case{"TooManyRepeats",
             [](JobSpec& s) {
               s = StagedSpec();
               s.then[0].data_flow->repeats = 17;
             },
             "then[0].space.data_flow.repeats: 17 is not in [1, 16]"},
        Case{"ScalesWithoutOne",
             [](JobSpec& s) {
               s = StagedSpec();
               s.then[0].data_flow->scale_bounds = {1, 2};
             },
             "then[0].space.data_flow.scale_bounds: [1, 2] must lie in [0, 10] and hold 1"},
        Case{"StageWithoutBudget",
             [](JobSpec& s) {
               s = StagedSpec();
               s.then[0].budget.candidates = 0;
             },
             "then[0].budget: give candidates"},
        Case{"FiltersInBlocksAlongAPath",
             [](JobSpec& s) {
               s = StagedSpec();
               std::swap(s.parameter, s.then[0].parameter);
               s.data_flow = DataFlowSpace{.sources = {"ja", "math"}};
               s.then[0].data_flow.reset();
               s.then[0].parameter.start = "winner";
               s.then[0].parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 2, .filters = {"mlp"}};
             },
             "then[0].space.parameter.granularity.filters: the layers of a winner's path are blocks of their own"},
        Case{"StartOfTheFirstStage", [](JobSpec& s) { s.parameter.start = "winner"; },
             "space.parameter.start: the first stage has no winner"},
        Case{"MethodTwice",
             [](JobSpec& s) {
               s.parameter.method = "";
               s.parameter.methods = {"ties", "ties"};
             },
             "space.parameter.methods[1]: 'ties' is named twice"},
        Case{"CostUnknown",
             [](JobSpec& s) {
               s.objectives = {{"cost", "hop"}};
             },
             "objectives[0].metric: no cost 'hop'; known: hops, tokens"},
        Case{"NegativeWeight", [](JobSpec& s) { s.objectives[0].weight = -1; }, "objectives[0].weight: -1 is not"},
        Case{"ConstraintWithTwoBounds",
             [](JobSpec& s) {
               s.constraints = {{"ja_math", "acc", 0.1, 0.2, ""}};
             },
             "constraints[0]: give exactly one of"},
        Case{"ConstraintOnNoModel",
             [](JobSpec& s) {
               s.constraints = {{"ja_math", "acc", std::nullopt, std::nullopt, "jp"}};
             },
             "constraints[0].at_least_model: no model 'jp'"},
        Case{"FreshSamplesWithoutFinalists", [](JobSpec& s) { s.samples.per_generation = 50; }, "finalists: missing;"},
        Case{"AnUnknownChoiceOfSamples", [](JobSpec& s) { s.samples.choose = "fisher"; },
             "samples.choose: unknown 'fisher'; known: information"},
        Case{"AChoiceOfAllSamples", [](JobSpec& s) { s.samples.choose = "information"; },
             "samples.choose: chooses the samples of a generation; say how many there are (samples.per_generation)"},
        Case{"ARaceInEmptyBlocks", [](JobSpec& s) { s.samples.racing = Racing{.block = 0}; },
             "samples.racing.block: 0 is below 1"},
        Case{"ARaceInOneBlock",
             [](JobSpec& s) {
               s.benchmarks.push_back(s.benchmarks[0]);
               s.benchmarks[1].name = "validation";
               s.finalists = {4, "validation", ""};
               s.samples = {25, Racing{.block = 25}, ""};
             },
             "samples.racing.block: 25 is not below samples.per_generation, 25"},
        Case{"ARaceByCoinToss", [](JobSpec& s) { s.samples.racing = Racing{.confidence = 0.5}; },
             "samples.racing.confidence: 0.5 is not in (0.5, 1)"},
        Case{"ARaceWithoutGenerations",
             [](JobSpec& s) {
               s.samples.racing = Racing{};
               s.mode = SearchMode::kRolling;
             },
             "samples.racing: a rolling search has no generations to race in"},
        Case{"ARaceUnderConstraints",
             [](JobSpec& s) {
               s.samples.racing = Racing{};
               s.constraints = {{"cost", "hops", std::nullopt, 8, ""}};
             },
             "samples.racing: constraints rank before fitness"},
        Case{"ARaceForTokens",
             [](JobSpec& s) {
               s.samples.racing = Racing{};
               s.objectives.push_back({"cost", "tokens"});
             },
             "samples.racing: the cost 'tokens' is of a whole evaluation"},
        Case{"ARaceWithoutSamples",
             [](JobSpec& s) {
               s.samples.racing = Racing{};
               s.objectives = {{"cost", "hops"}};
             },
             "samples.racing: no objective is measured on samples"},
        Case{"FinalistsOnTheOnlyBenchmark",
             [](JobSpec& s) {
               s.finalists = {4, "ja_math", ""};
             },
             "finalists.benchmark: is the only benchmark"},
        Case{"NoAttempts", [](JobSpec& s) { s.max_attempts = 0; }, "max_attempts: 0 is not in [1, 20]"}),
    [](const auto& info) { return info.param.name; });

TEST(RecipeTest, TensorsBelongToGroupsByPartLayerAndName) {
  const TensorGroup middle{"layers.2-3", {ModelPart::kLayers}, 2, 4, ""};
  EXPECT_TRUE(Belongs(middle, ModelPart::kLayers, 2, "model.layers.2.mlp.up_proj.weight"));
  EXPECT_FALSE(Belongs(middle, ModelPart::kLayers, 4, "model.layers.4.mlp.up_proj.weight"));
  EXPECT_FALSE(Belongs(middle, ModelPart::kHead, 0, "lm_head.weight"));
  const TensorGroup mlp{"mlp", {}, 0, -1, "mlp"};
  EXPECT_TRUE(Belongs(mlp, ModelPart::kLayers, 5, "model.layers.5.mlp.up_proj.weight"));
  EXPECT_FALSE(Belongs(mlp, ModelPart::kEmbedding, 0, "model.embed_tokens.weight"));
  EXPECT_TRUE(Belongs(TensorGroup{}, ModelPart::kNorm, 0, "model.norm.weight"));
}

}  // namespace
}  // namespace merganser

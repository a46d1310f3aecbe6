#include "worker/merge/merge_plan.h"

#include <cmath>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::NamedTensor;
using testing_merge::OneGroup;

const std::vector<NamedTensor>& Tensors() {
  static const auto* const tensors = new std::vector<NamedTensor>{
      {"model.embed_tokens.weight", {2}, {1, 2}},
      {"model.layers.0.self_attn.q_proj.weight", {2}, {1, 2}},
      {"model.layers.1.mlp.up_proj.weight", {2}, {1, 2}},
      {"model.norm.weight", {2}, {1, 2}},
  };
  return *tensors;
}

std::shared_ptr<const MergeSources> Sources(const std::vector<NamedTensor>& tensors = Tensors()) {
  const auto model = MakeModel(tensors, DType::kF32);
  return *MergeSources::Create({{"base", model}, {"en", model}, {"ja", model}}, MakeLayout(tensors, DType::kF32));
}

struct Refusal {
  std::string name;
  std::function<void(Recipe&)> change;
  std::string message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

class MergePlanRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(MergePlanRefusalTest, SaysWhatIsWrong) {
  Recipe recipe = OneGroup("ties", "base", {"ja", "en"}, {{{"weight", 1}, {"density", 0.5}}, {{"weight", 1}}});
  ASSERT_TRUE(MergePlan::Build(recipe, recipe.stacks[0], Sources()).ok());
  GetParam().change(recipe);
  const auto plan = MergePlan::Build(recipe, recipe.stacks[0], Sources());
  EXPECT_EQ(plan.status().code(), GetParam().code);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr(GetParam().message));
}

std::map<std::string, double>& Own(Recipe& r) { return r.stacks[0].settings[0].source_parameters[0]; }
std::map<std::string, double>& Whole(Recipe& r) { return r.stacks[0].settings[0].parameters; }

INSTANTIATE_TEST_SUITE_P(
    All, MergePlanRefusalTest,
    ::testing::Values(
        Refusal{"path",
                [](Recipe& r) {
                  r.path = {{0, 0}};
                },
                "data-flow recipes", absl::StatusCode::kUnimplemented},
        Refusal{"method", [](Recipe& r) { r.stacks[0].method = "tiess"; },
                "stack 'merged': unknown method 'tiess'; did you mean 'ties'?"},
        Refusal{"density_above_1", [](Recipe& r) { Own(r)["density"] = 1.25; },
                "group 'all', source 'ja': density 1.25 is not in [0, 1]"},
        Refusal{"density_below_0", [](Recipe& r) { Own(r)["density"] = -0.5; }, "density -0.5 is not in [0, 1]"},
        Refusal{"epsilon_beyond_density",
                [](Recipe& r) {
                  r.stacks[0].method = "della";
                  Own(r)["density"] = 0.1;
                },
                "source 'ja': density 0.1 with epsilon 0.15: density - epsilon and density + epsilon must "
                "lie in (0, 1)"},
        Refusal{"slerp_of_two_sources", [](Recipe& r) { r.stacks[0].method = "slerp"; },
                "slerp merges its base with exactly 1 source; the stack has 2"},
        Refusal{"nuslerp_of_one",
                [](Recipe& r) {
                  r.stacks[0].method = "nuslerp";
                  r.stacks[0].sources.pop_back();
                },
                "nuslerp merges exactly 2 sources; the stack has 1"},
        Refusal{"model_stock_of_one",
                [](Recipe& r) {
                  r.stacks[0].method = "model_stock";
                  r.stacks[0].sources.pop_back();
                },
                "model_stock merges its base with at least 2 sources; the stack has 1"},
        Refusal{"missing_t",
                [](Recipe& r) {
                  r.stacks[0].method = "nearswap";
                  r.stacks[0].sources.pop_back();
                  r.stacks[0].settings[0].source_parameters = {{}};
                },
                "group 'all': nearswap needs parameter 't'"},
        Refusal{"half_an_iteration",
                [](Recipe& r) {
                  r.stacks[0].method = "karcher";
                  r.stacks[0].base = "";
                  r.stacks[0].settings[0].source_parameters = {{}, {}};
                  Whole(r)["max_iter"] = 1.5;
                },
                "max_iter 1.5 is not a whole number"},
        Refusal{"negative_tolerance",
                [](Recipe& r) {
                  r.stacks[0].method = "karcher";
                  r.stacks[0].base = "";
                  r.stacks[0].settings[0].source_parameters = {{}, {}};
                  Whole(r)["tol"] = -1;
                },
                "tol -1 is below 0"},
        Refusal{"nan_weight", [](Recipe& r) { Own(r)["weight"] = std::nan(""); }, "source 'ja': weight nan is not finite"},
        Refusal{"weight_beyond_fp32", [](Recipe& r) { Own(r)["weight"] = 1e39; }, "weight 1e+39 is not finite"},
        Refusal{"nan_lambda", [](Recipe& r) { Whole(r)["lambda"] = std::nan(""); }, "lambda nan is not finite"},
        Refusal{"source_parameter", [](Recipe& r) { Own(r)["wieght"] = 1; },
                "ties has no parameter 'wieght' here; did you mean 'weight'?"},
        Refusal{"whole_parameter", [](Recipe& r) { Whole(r)["normalise"] = 1; }, "did you mean 'normalize'?"},
        Refusal{"half_normalize", [](Recipe& r) { Whole(r)["normalize"] = 0.5; }, "normalize 0.5 is neither 0 nor 1"},
        Refusal{"source", [](Recipe& r) { r.stacks[0].sources[1] = "jaa"; }, "no model 'jaa'; did you mean 'ja'?"},
        Refusal{"source_twice", [](Recipe& r) { r.stacks[0].sources[1] = "ja"; }, "model 'ja' is named twice"},
        Refusal{"base_among_sources", [](Recipe& r) { r.stacks[0].sources[1] = "base"; }, "model 'base' is named twice"},
        Refusal{"unknown_base", [](Recipe& r) { r.stacks[0].base = "basee"; }, "no model 'basee'; did you mean 'base'?"},
        Refusal{"no_base", [](Recipe& r) { r.stacks[0].base = ""; }, "ties needs a base"},
        Refusal{"linear_with_base", [](Recipe& r) { r.stacks[0].method = "linear"; },
                "linear takes no base; name 'base' among the sources"},
        Refusal{"no_sources", [](Recipe& r) { r.stacks[0].sources.clear(); }, "no sources"},
        Refusal{"parameters_of_one_source", [](Recipe& r) { r.stacks[0].settings[0].source_parameters.pop_back(); },
                "parameters of 1 sources; the stack has 2"},
        Refusal{"dtype_of_the_arena", [](Recipe& r) { r.dtype = "bfloat16"; },
                "recipe.dtype: bfloat16, but tensor 'model.embed_tokens.weight' is to be stored as "
                "float32"},
        Refusal{"unknown_dtype", [](Recipe& r) { r.dtype = "bf17"; }, "recipe.dtype"},
        Refusal{"copy_of_two", [](Recipe& r) { r.stacks[0].method = ""; }, "it is a copy of one source"},
        Refusal{"no_group",
                [](Recipe& r) {
                  r.stacks[0].settings[0].group.parts = {ModelPart::kLayers, ModelPart::kEmbedding};
                },
                "no group takes tensor 'model.norm.weight'"}),
    [](const auto& info) { return info.param.name; });

TEST(MergePlanTest, LinearRefusesWeightsThatSumToZero) {
  Recipe recipe = OneGroup("linear", "", {"ja", "en"}, {{{"weight", 0.5}}, {{"weight", -0.5}}});
  const auto plan = MergePlan::Build(recipe, recipe.stacks[0], Sources());
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("the weights sum to 0"));
  recipe.stacks[0].settings[0].parameters["normalize"] = 0;
  EXPECT_TRUE(MergePlan::Build(recipe, recipe.stacks[0], Sources()).ok());
}

TEST(MergePlanTest, TheFirstGroupThatATensorBelongsToCounts) {
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", 9}}});
  const auto add = [&](TensorGroup group, double weight) {
    auto& settings = recipe.stacks[0].settings;
    settings.insert(settings.end() - 1, {std::move(group), {{{"weight", weight}}}, {}});
  };
  add({"embed", {ModelPart::kEmbedding}}, 1);
  add({"attention", {}, 0, -1, "self_attn"}, 2);
  add({"layer.1", {ModelPart::kLayers}, 1, 2}, 3);
  const auto plan = MergePlan::Build(recipe, recipe.stacks[0], Sources());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const double want[] = {1, 2, 3, 9};
  for (int t = 0; t < 4; ++t) EXPECT_EQ(plan->settings(t).weights[0], want[t]) << t;
}

TEST(MergePlanTest, TensorsOutsideLlamaNamesTakeGroupsWithoutParts) {
  const std::vector<NamedTensor> tensors = {{"vision_tower.patch.weight", {1}, {1}}};
  Recipe recipe = OneGroup("task_arithmetic", "base", {"ja"}, {{{"weight", 2}}});
  EXPECT_TRUE(MergePlan::Build(recipe, recipe.stacks[0], Sources(tensors)).ok());
  recipe.stacks[0].settings[0].group.parts = {ModelPart::kEmbedding, ModelPart::kLayers, ModelPart::kNorm, ModelPart::kHead};
  EXPECT_THAT(std::string(MergePlan::Build(recipe, recipe.stacks[0], Sources(tensors)).status().message()),
              HasSubstr("no group takes tensor 'vision_tower.patch.weight'"));
}

TEST(MergePlanTest, MissingParametersAreMergekitsDefaults) {
  struct Want {
    std::string method;
    bool normalize, rescale;
  };
  for (const Want& want :
       {Want{"linear", true, false}, Want{"task_arithmetic", false, false}, Want{"ties", true, false},
        Want{"dare_linear", false, true}, Want{"dare_ties", false, true}, Want{"della_linear", false, true},
        Want{"della", true, true}, Want{"breadcrumbs", false, false}, Want{"breadcrumbs_ties", false, false}}) {
    const Recipe recipe = OneGroup(want.method, want.method == "linear" ? "" : "base", {"ja"}, {{}});
    const auto plan = MergePlan::Build(recipe, recipe.stacks[0], Sources());
    ASSERT_TRUE(plan.ok()) << plan.status();
    const MergeSettings& settings = plan->settings(0);
    EXPECT_EQ(settings.normalize, want.normalize) << want.method;
    EXPECT_EQ(settings.rescale, want.rescale) << want.method;
    EXPECT_EQ(settings.weights[0], 1);
    EXPECT_EQ(settings.densities[0], 1);
    EXPECT_EQ(settings.lambda, 1);
  }
}

TEST(MergePlanTest, EveryParameterOfAMethodHasItsDefault) {
  const auto resolve = [](const std::string& method, const std::string& base, int sources) {
    const std::vector<std::string> names = {"ja", "en"};
    const Recipe recipe = OneGroup(method, base, {names.begin(), names.begin() + sources},
                                   std::vector<std::map<std::string, double>>(sources));
    return *ResolveSettings(recipe.stacks[0], 0, *FindMergeMethod(method));
  };
  EXPECT_EQ(resolve("breadcrumbs", "base", 2).Get("gamma", 1), 0.01);
  EXPECT_EQ(resolve("della", "base", 2).Get("epsilon", 0), 0.15);
  EXPECT_EQ(resolve("della", "base", 1).Get("rescale_by_density"), 0);
  EXPECT_EQ(resolve("sce", "base", 2).Get("select_topk"), 1);
  EXPECT_EQ(resolve("nuslerp", "", 2).Get("nuslerp_flatten"), 1);
  EXPECT_EQ(resolve("nuslerp", "", 2).Get("nuslerp_row_wise"), 0);
  EXPECT_EQ(resolve("multislerp", "", 2).Get("normalize_weights"), 1);
  EXPECT_EQ(resolve("multislerp", "", 2).Get("eps"), 1e-8);
  EXPECT_EQ(resolve("karcher", "", 2).Get("max_iter"), 10);
  EXPECT_EQ(resolve("karcher", "", 2).Get("tol"), 1e-5);
  EXPECT_EQ(resolve("model_stock", "base", 2).Get("filter_wise"), 0);
  EXPECT_EQ(resolve("ram", "base", 2).Get("epsilon"), 1e-5);
  EXPECT_EQ(resolve("ramplus_tl", "base", 2).Get("r"), 0.1);
  EXPECT_EQ(resolve("ramplus_tl", "base", 2).Get("alpha"), 0.2);
  EXPECT_EQ(resolve("passthrough", "", 1).Get("scale", 0), 1);
}

}  // namespace
}  // namespace merganser

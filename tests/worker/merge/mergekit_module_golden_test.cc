// Models of several modules against mergekit 0.1.5 (tests/golden/mergekit_module_goldens.py): gradients run through each
// module's own layers, and `modules` gives each its own parameters. To 2e-6 of the largest value.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gtest/gtest.h"
#include "tests/worker/merge/recipe_export_testing.h"
#include "worker/merge/mergekit_modules.h"
#include "worker/merge/mergekit_reader.h"

namespace merganser {
namespace {

using nlohmann::json;
using testing_merge::FormulaValue;
using testing_merge::Options;
using testing_merge::ReadTensors;
using testing_merge::SmallCheckpoint;
using testing_merge::Write;

json Goldens() {
  std::ifstream file(std::string(MG_SOURCE_DIR) + "/tests/worker/merge/testdata/mergekit_modules.json");
  return json::parse(file);
}

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  const json goldens = Goldens();
  for (const auto& [name, one] : goldens["cases"].items()) names.push_back(name);
  return names;
}

std::string WriteModel(int number, const json& goldens) {
  SmallCheckpoint checkpoint{goldens["config"].dump(), {}};
  int tensor = 0;
  for (const json& one : goldens["shapes"]) {
    testing_merge::StoredTensor stored{{one[0], DType::kF32, one[1]}, {}};
    const int64_t count = stored.header.NumBytes() / SizeOf(DType::kF32);
    for (int64_t i = 0; i < count; ++i) stored.values.push_back(FormulaValue(number, tensor, static_cast<int>(i)));
    checkpoint.tensors.push_back(std::move(stored));
    ++tensor;
  }
  return Write(checkpoint);
}

class MergekitModuleGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(MergekitModuleGoldenTest, TheSameYamlGivesTheSameModel) {
  const json goldens = Goldens();
  const json& golden = goldens["cases"][GetParam()];
  const std::map<std::string, std::string> dirs = {{"a", WriteModel(0, goldens)}, {"b", WriteModel(1, goldens)}};
  const ModelResolver resolver = [&](const std::string& path) -> absl::StatusOr<std::string> { return dirs.at(path); };
  const auto recipe = ReadMergekitYaml(std::string(golden["yaml"]) + "dtype: float32\n", "m.yml",
                                       [&](const ModelRef& model) { return ReadModelFacts(model, resolver); });
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const RecipeExportOptions options = Options();
  const auto facts = ExportRecipeFiles(*recipe, resolver, options, {});
  ASSERT_TRUE(facts.ok()) << facts.status();
  const auto merged = ReadTensors(options.out_dir);
  ASSERT_EQ(merged.size(), golden["tensors"].size());
  for (const auto& [name, values] : golden["tensors"].items()) {
    ASSERT_EQ(merged.count(name), 1u) << name;
    const auto& have = merged.at(name);
    ASSERT_EQ(have.size(), values.size()) << name;
    for (size_t i = 0; i < values.size(); ++i) {
      const float wanted = values[i].get<float>();
      ASSERT_NEAR(have[i], wanted, 2e-6 * std::max(1.0f, std::abs(wanted))) << name << "[" << i << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MergekitModuleGoldenTest, testing::ValuesIn(CaseNames()),
                         [](const auto& info) { return info.param; });

TEST(MergekitModulesTest, AModuleHasTheTensorsWithItsLongestBeginning) {
  const std::vector<std::string> modules = {"text_decoder", "vision_tower", "multi_modal_projector"};
  EXPECT_EQ(ModuleOf(modules, "model.layers.0.mlp.up_proj.weight"), 0);
  EXPECT_EQ(ModuleOf(modules, "visual.blocks.0.attn.qkv.weight"), 1);
  EXPECT_EQ(ModuleOf(modules, "visual.merger.mlp.0.weight"), 2);
  EXPECT_EQ(ModuleOf({"encoder", "decoder"}, "model.decoder.layers.0.fc1.weight"), 1);
  EXPECT_EQ(ModuleOf({"encoder", "decoder"}, "lm_head.weight"), -1);
  EXPECT_EQ(ModuleOf({"default", "language_model.model.layers"}, "language_model.model.layers.1.input_layernorm.weight"), 1);
  EXPECT_EQ(ModuleOf({"default", "language_model.model.layers"}, "language_model.model.norm.weight"), 0);
}

TEST(MergekitModulesTest, LayersAreCountedByWhatStandsBeforeThem) {
  const LayersByPrefix layers({"a.layers.0.w", "a.layers.2.w", "b.blocks.0.w", "b.7", "norm.weight", "4.w"});
  EXPECT_EQ(layers.At("a.layers.0.w"), 0);
  EXPECT_EQ(layers.At("a.layers.1.w"), 0.5);
  EXPECT_EQ(layers.At("a.layers.2.w"), 1);
  EXPECT_EQ(layers.At("b.blocks.0.w"), 1);  // an only one
  for (const char* name : {"b.7", "norm.weight", "4.w"}) EXPECT_EQ(layers.At(name), 0) << name;
}

}  // namespace
}  // namespace merganser

// Whole merges against mergekit 0.1.5: its YAML, read by us, gives the tensors that it wrote (tests/golden/
// mergekit_recipe_goldens.py). Both compute in fp32; sums may be taken in another order: 2e-6 of the largest value.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gtest/gtest.h"
#include "tests/worker/merge/small_checkpoints.h"
#include "worker/merge/mergekit_reader.h"
#include "worker/merge/recipe_export.h"

namespace merganser {
namespace {

using testing_merge::NewTestFolder;
using testing_merge::ReadTensors;
using testing_merge::SmallLlama;

struct Golden {
  std::string name;
  nlohmann::json data;
};

std::vector<Golden> Goldens() {
  std::ifstream file(std::string(MG_SOURCE_DIR) + "/tests/worker/merge/testdata/mergekit_recipes.json");
  std::vector<Golden> goldens;
  const nlohmann::json all = nlohmann::json::parse(file);
  for (const auto& [name, data] : all.items()) goldens.push_back({name, data});
  return goldens;
}

class MergekitRecipeGoldenTest : public testing::TestWithParam<Golden> {};

TEST_P(MergekitRecipeGoldenTest, TheSameYamlGivesTheSameModel) {
  const std::string yaml = GetParam().data["yaml"];
  std::map<std::string, std::string> dirs;
  int number = 0;
  for (const char* name : {"base", "a", "b", "c"}) dirs[name] = Write(SmallLlama(number++));
  const ModelResolver resolver = [&](const std::string& path) -> absl::StatusOr<std::string> { return dirs.at(path); };
  const auto recipe = ReadMergekitYaml(yaml + "dtype: float32\n", GetParam().name,
                                       [&](const ModelRef& model) { return ReadModelFacts(model, resolver); });
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  RecipeExportOptions options;
  options.out_dir = NewTestFolder() + "/out";
  options.batch_bytes = 300;  // several batches a layer
  options.threads = 2;
  const auto facts = ExportRecipeFiles(*recipe, resolver, options, {});
  ASSERT_TRUE(facts.ok()) << facts.status();

  const auto merged = ReadTensors(options.out_dir);
  const nlohmann::json& want = GetParam().data["tensors"];
  EXPECT_EQ(merged.size(), want.size());
  for (const auto& [name, values] : want.items()) {
    const auto found = merged.find(name);
    ASSERT_TRUE(found != merged.end()) << name;
    ASSERT_EQ(found->second.size(), values.size()) << name;
    for (size_t i = 0; i < values.size(); ++i) {
      const float wanted = values[i].get<float>();
      ASSERT_NEAR(found->second[i], wanted, 2e-6 * std::max(1.0f, std::abs(wanted))) << name << "[" << i << "]";
    }
  }
  const auto config = nlohmann::json::parse(testing_merge::ReadWhole(options.out_dir + "/config.json"));
  EXPECT_EQ(config["num_hidden_layers"], GetParam().data["layers"]);
}

INSTANTIATE_TEST_SUITE_P(All, MergekitRecipeGoldenTest, testing::ValuesIn(Goldens()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser

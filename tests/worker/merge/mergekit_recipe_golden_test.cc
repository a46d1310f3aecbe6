// Whole merges against mergekit 0.1.5: its YAML, read by us, gives the tensors that it wrote (tests/golden/
// mergekit_recipe_goldens.py). Both compute in fp32; sums may be taken in another order: 2e-6 of the largest value.
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
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

// Folders of the scripts' models by name; they resolve themselves.
ModelResolver ModelsOfTheScript() {
  auto dirs = std::make_shared<std::map<std::string, std::string>>();
  int number = 0;
  for (const char* name : {"base", "a", "b", "c"}) (*dirs)[name] = Write(SmallLlama(number++));
  return [dirs](const std::string& path) -> absl::StatusOr<std::string> { return dirs->at(path); };
}

// Exports the recipe, and compares with what mergekit wrote: `tolerance` of the largest value, 0 for the same bits.
void ExpectExport(const Recipe& recipe, const ModelResolver& resolver, const nlohmann::json& golden, double tolerance,
                  std::string* mergekit_yaml) {
  RecipeExportOptions options;
  options.out_dir = NewTestFolder() + "/out";
  options.batch_bytes = 300;  // several batches a layer
  options.threads = 2;
  const auto facts = ExportRecipeFiles(recipe, resolver, options, {});
  ASSERT_TRUE(facts.ok()) << facts.status();
  if (mergekit_yaml != nullptr) {
    ASSERT_EQ(facts->no_mergekit_yaml, "");
    *mergekit_yaml = testing_merge::ReadWhole(options.out_dir + "/mergekit.yaml");
  }
  const auto merged = ReadTensors(options.out_dir);
  const nlohmann::json& want = golden["tensors"];
  EXPECT_EQ(merged.size(), want.size());
  for (const auto& [name, values] : want.items()) {
    const auto found = merged.find(name);
    ASSERT_TRUE(found != merged.end()) << name;
    ASSERT_EQ(found->second.size(), values.size()) << name;
    for (size_t i = 0; i < values.size(); ++i) {
      const float wanted = values[i].get<float>();
      ASSERT_NEAR(found->second[i], wanted, tolerance * std::max(1.0f, std::abs(wanted))) << name << "[" << i << "]";
    }
  }
  const auto config = nlohmann::json::parse(testing_merge::ReadWhole(options.out_dir + "/config.json"));
  EXPECT_EQ(config["num_hidden_layers"], golden["layers"]);
}

TEST_P(MergekitRecipeGoldenTest, TheSameYamlGivesTheSameModel) {
  std::string yaml = GetParam().data["yaml"];
  if (!absl::StrContains(yaml, "\ndtype: ")) yaml += "dtype: float32\n";
  const ModelResolver resolver = ModelsOfTheScript();
  const auto facts = [&](const ModelRef& model) { return ReadModelFacts(model, resolver); };
  // Masks are mergekit's by its own arithmetic only.
  const bool draws = absl::StartsWith(GetParam().name, "draws_");
  const auto read = [&](const std::string& text) {
    absl::StatusOr<Recipe> recipe = ReadMergekitYaml(text, GetParam().name, facts);
    if (recipe.ok() && draws) {
      for (Stack& stack : recipe->stacks) stack.arithmetic = Arithmetic::kMergekit;
    }
    return recipe;
  };
  const auto recipe = read(yaml);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  std::string written;
  ExpectExport(*recipe, resolver, GetParam().data, 2e-6, &written);
  // What is written of it is the same model again.
  EXPECT_EQ(absl::StrContains(written, "mergekit run with --random-seed 0"), draws) << written;
  const auto again = read(written);
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << written;
  ExpectExport(*again, resolver, GetParam().data, 2e-6, nullptr);
}

Recipe RecipeOf(std::vector<Stack> stacks, std::vector<Hop> path, const std::string& dtype) {
  Recipe recipe;
  recipe.models = {{"a", "a"}, {"b", "b"}, {"base", "base"}, {"c", "c"}};
  recipe.stacks = std::move(stacks);
  recipe.path = std::move(path);
  recipe.tokenizer_from = "a";
  recipe.dtype = dtype;
  return recipe;
}

class WrittenGoldenTest : public testing::Test {
 protected:
  // The recipe is written as the golden's YAML, and exported with mergekit's bits (or within `tolerance` of its sums).
  static void Expect(const std::string& name, const Recipe& recipe, double tolerance) {
    for (const Golden& golden : Goldens()) {
      if (golden.name != name) continue;
      std::string written;
      ExpectExport(recipe, ModelsOfTheScript(), golden.data, tolerance, &written);
      EXPECT_EQ(written, golden.data["yaml"].get<std::string>());
      return;
    }
    FAIL() << "no golden " << name;
  }
};

TEST_F(WrittenGoldenTest, AScaledPathIsPassthroughScalesOfWhatAnExportFoldsThemInto) {
  Expect("written_scaled_path",
         RecipeOf({{"a", "", "", {"a"}, {}}, {"b", "", "", {"b"}, {}}},
                  {{0, 0, 1.25}, {0, 1, 0.9}, {1, 1, 1}, {1, 2, 0.7}, {0, 3, 0.7}}, "bfloat16"),
         0);
}

TEST_F(WrittenGoldenTest, APathOverOneMergeIsSlicesOfIt) {
  Stack merge{"merge", "ties", "base", {"a", "b"}, {}};
  const std::map<std::string, double> b = {{"weight", 1}, {"density", 0.5}};
  merge.settings = {{{"mlp", {ModelPart::kLayers}, 0, -1, "mlp"}, {{{"weight", 0.25}}, b}, {{"lambda", 0.75}}},
                    {{"rest"}, {{{"weight", 0.5}}, b}, {{"lambda", 0.75}}}};
  Recipe recipe = RecipeOf({merge}, {{0, 0}, {0, 1}, {0, 1}, {0, 2}}, "float32");
  recipe.tokenizer_from = "base";
  Expect("written_path_of_a_merge", recipe, 2e-6);
}

TEST_F(WrittenGoldenTest, OtherLayersAndOtherEndsAreSlicesToo) {
  Stack merge{"merge", "linear", "", {"a", "b"}, {}};
  merge.settings = {{{"all"}, {{{"weight", 0.5}}, {{"weight", 1.5}}}, {}}};
  merge.layer_offsets = {{"b", 1}};
  Recipe recipe = RecipeOf({merge, {"c", "", "", {"c"}, {}}}, {{1, 2}, {1, 3}, {0, 0}, {0, 1}}, "float32");
  recipe.head_from = "c";
  Expect("written_other_layers_and_ends", recipe, 2e-6);
}

INSTANTIATE_TEST_SUITE_P(All, MergekitRecipeGoldenTest, testing::ValuesIn(Goldens()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser

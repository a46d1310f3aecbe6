// Where an export may be written to.
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/recipe_export_testing.h"

namespace merganser {
namespace {

using namespace testing_merge;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(RecipeExportPlaceTest, WhatHoldsASourceOfTheMergeIsNotOverwritten) {
  const std::string a = Write(SmallLlama(1)), b = Write(SmallLlama(2));
  const Recipe recipe = Average({{"a", a}, {"b", b}});
  RecipeExportOptions options = Options();
  options.overwrite = true;
  const auto refusal = [&](const std::string& out_dir) {
    options.out_dir = out_dir;
    return std::string(ExportRecipeFiles(recipe, AsWritten, options, {}).status().message());
  };
  const auto before = ReadTensors(b);
  EXPECT_THAT(refusal(b), HasSubstr("is not overwritten: model 'b' of this merge is there"));
  EXPECT_THAT(refusal(b + "/../" + fs::path(b).filename().string() + "/"), HasSubstr("model 'b' of this merge is there"));
  EXPECT_EQ(ReadTensors(b), before);

  // A checkpoint that has a source among its folders.
  const std::string parent = Write(SmallLlama(3));
  fs::rename(b, parent + "/step-500");
  const Recipe inner = Average({{"a", a}, {"b", parent + "/step-500"}});
  options.out_dir = parent;
  EXPECT_THAT(ExportRecipeFiles(inner, AsWritten, options, {}).status().message(), HasSubstr("model 'b'"));
  EXPECT_TRUE(fs::exists(parent + "/step-500"));
  // Beside it, and within it, is another place.
  options.out_dir = parent + "/merged";
  EXPECT_TRUE(ExportRecipeFiles(inner, AsWritten, options, {}).ok());
}

TEST(RecipeExportPlaceTest, TheFolderOfAnAdapterIsASourceToo) {
  const std::string model = Write(SmallLlama(1));
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.";
  const std::string adapter = Write({"{}",
                                     {{{q + "lora_A.weight", DType::kF32, {1, 4}}, {1, 0, 0, 0}},
                                      {{q + "lora_B.weight", DType::kF32, {4, 1}}, {1, 0, 0, 0}}}},
                                    {{"adapter_config.json", R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1})"}});
  fs::rename(adapter + "/model.safetensors", adapter + "/adapter_model.safetensors");
  Recipe recipe = Copies({{"a", model}});
  recipe.models[0].lora = adapter;
  RecipeExportOptions options = Options();
  options.overwrite = true;
  options.out_dir = adapter;
  EXPECT_THAT(ExportRecipeFiles(recipe, AsWritten, options, {}).status().message(), HasSubstr("model 'a' of this merge"));
  EXPECT_TRUE(fs::exists(adapter + "/adapter_model.safetensors"));
}

}  // namespace
}  // namespace merganser

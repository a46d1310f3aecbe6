#include "client/merge_plan_output.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

RecipeExportPlan Plan() {
  RecipeExportPlan plan;
  for (const char* name : {"model.layers.0.up.weight", "model.layers.1.up.weight"})
    plan.tensors.push_back({name, "bfloat16", {4, 2}, "ties of a onto b", 32, 16});
  plan.tensors.push_back({"lm_head.weight", "bfloat16", {2}, "copy of a", 4, 4});
  plan.layers = 2;
  plan.shards = 1;
  plan.parameters = 18;
  plan.read_bytes = 68;
  plan.write_bytes = 36;
  plan.memory_bytes = 2048;
  plan.no_mergekit_yaml = "a merge of a merge has no form in mergekit";
  plan.notes = {"head: untied"};
  return plan;
}

TEST(MergePlanOutputTest, LayersThatAreAlikeAreOneLine) {
  const std::string text = MergePlanText(Plan());
  EXPECT_THAT(text, HasSubstr("18 parameters in 3 tensors and 2 layers\nreads 68 B, writes 36 B in 1 file\n"));
  EXPECT_THAT(text, HasSubstr("memory at most 2.0 KiB beyond the page cache\n"));
  EXPECT_THAT(text, HasSubstr("head: untied\nmergekit.yaml: no, a merge of a merge"));
  EXPECT_THAT(text, HasSubstr("      2  model.layers.#.up.weight  bfloat16  4 x 2"));
}

TEST(MergePlanOutputTest, AModelWithoutLayersHasNoneToCount) {
  RecipeExportPlan plan = Plan();
  plan.layers = 0;
  EXPECT_THAT(MergePlanText(plan), HasSubstr("18 parameters in 3 tensors\nreads 68 B"));
}

TEST(MergePlanOutputTest, ProgramsGetEveryTensor) {
  const Json json = MergePlanJson(Plan());
  EXPECT_EQ(json["tensors"].size(), 3u);
  EXPECT_EQ(json["tensors"][1]["name"], "model.layers.1.up.weight");
  EXPECT_EQ(json["tensors"][1]["shape"], Json({4, 2}));
  EXPECT_EQ(json["memory_bytes"], 2048);
}

TEST(MergePlanOutputTest, SizesAreBytesWithAUnit) {
  EXPECT_EQ(*ParseSize("5GB"), 5'000'000'000);
  EXPECT_EQ(*ParseSize("4 gib"), int64_t{4} << 30);
  EXPECT_EQ(*ParseSize("0.5MB"), 500'000);
  EXPECT_EQ(*ParseSize("123"), 123);
  for (const char* bad : {"", "GB", "5TB", "-1GB", "0", "1e30GB", "nanGB"}) EXPECT_FALSE(ParseSize(bad).ok()) << bad;
}

}  // namespace
}  // namespace merganser

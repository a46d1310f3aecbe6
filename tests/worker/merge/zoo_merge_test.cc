// The example family's evolved merge, tensor by tensor: its coefficients and the digests of its
// weights come from the run that made it (PyTorch, fp32, stored as bf16).
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "common/base/sha256.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/merge/merge_models.h"
#include "worker/checkpoint/checkpoint.h"

namespace merganser {
namespace {

using Checkpoints = std::map<std::string, std::shared_ptr<const Checkpoint>>;

Checkpoints OpenFamily() {
  Checkpoints family;
  for (const std::string name : {"base", "ja", "math-en"}) {
    auto checkpoint = Checkpoint::Open(MG_SOURCE_DIR "/examples/ja-math/" + name);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (checkpoint.ok()) family[name] = *checkpoint;
  }
  return family;
}

ArenaLayout LayoutOf(const Checkpoint& checkpoint) {
  std::vector<ArenaTensor> tensors;
  for (const TensorView& view : checkpoint.tensors()) tensors.push_back({view.name, view.shape, DType::kBF16});
  return *ArenaLayout::Create(std::move(tensors));
}

// Groups "in" (embedding), the layers' numbers, "out" (final norm and head).
TensorGroup GroupNamed(const std::string& name) {
  if (name == "in") return {name, {ModelPart::kEmbedding}};
  if (name == "out") return {name, {ModelPart::kNorm, ModelPart::kHead}};
  const int layer = std::stoi(name);
  return {"layer." + name, {ModelPart::kLayers}, layer, layer + 1};
}

TEST(ZooMergeTest, EvolvedMergeHasThePublishedBytes) {
  std::ifstream file(MG_SOURCE_DIR "/tests/worker/merge/testdata/zoo_evolved.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  const nlohmann::json& merge = golden["merge"];
  const Checkpoints family = OpenFamily();
  ASSERT_EQ(family.size(), 3u);
  Recipe recipe;
  recipe.stacks.push_back({"merged", "task_arithmetic", "base", merge["experts"]});
  for (size_t g = 0; g < merge["groups"].size(); ++g) {
    recipe.stacks[0].settings.push_back(
        {GroupNamed(merge["groups"][g]),
         {{{"weight", merge["coefficients"][0][g]}}, {{"weight", merge["coefficients"][1][g]}}}});
  }
  auto sources = MergeSources::Create(family, LayoutOf(*family.at("base")));
  ASSERT_TRUE(sources.ok()) << sources.status();
  auto materializer = Materializer::Create(*sources, {.threads = 2});
  ASSERT_TRUE(materializer.ok()) << materializer.status();
  auto arena = Arena::Create((*sources)->layout());
  ASSERT_TRUE(arena.ok());

  const auto plan = MergePlan::Build(recipe, recipe.stacks[0], *sources);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_TRUE((*materializer)->Run(*plan, **arena).ok());

  ASSERT_EQ(golden["tensors"].size(), (*arena)->layout().tensors().size());
  for (const auto& [name, want] : golden["tensors"].items()) {
    const int i = (*arena)->layout().IndexOf(name);
    ASSERT_GE(i, 0) << name;
    const std::byte* data = (*arena)->data(i);
    uint16_t first[16];
    std::memcpy(first, data, sizeof first);
    EXPECT_EQ(std::vector<uint16_t>(first, first + 16), want["first"].get<std::vector<uint16_t>>()) << name;
    const size_t bytes = static_cast<size_t>((*arena)->layout().tensors()[i].NumBytes());
    EXPECT_EQ(Sha256Hex({reinterpret_cast<const char*>(data), bytes}), want["sha256"].get<std::string>()) << name;
  }
}

TEST(ZooMergeTest, CopyOfASourceIsThatSource) {
  const Checkpoints family = OpenFamily();
  ASSERT_EQ(family.size(), 3u);
  Recipe recipe;
  recipe.stacks.push_back({"ja", "", "", {"ja"}});
  auto sources = MergeSources::Create(family, LayoutOf(*family.at("base")));
  ASSERT_TRUE(sources.ok()) << sources.status();
  auto materializer = Materializer::Create(*sources, {});
  auto arena = Arena::Create((*sources)->layout());
  const auto plan = MergePlan::Build(recipe, recipe.stacks[0], *sources);
  ASSERT_TRUE(plan.ok()) << plan.status();

  ASSERT_TRUE((*materializer)->Run(*plan, **arena).ok());

  for (const TensorView& view : family.at("ja")->tensors()) {
    EXPECT_EQ(std::memcmp((*arena)->Find(view.name).data, view.data.data(), view.data.size()), 0) << view.name;
  }
}

}  // namespace
}  // namespace merganser

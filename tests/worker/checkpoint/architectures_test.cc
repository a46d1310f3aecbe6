#include "worker/checkpoint/architectures.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/tensor_role.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Saved {
  std::string architecture;
  std::vector<std::string> names;  // as transformers saved them; tests/golden/architecture_names.py
};

std::vector<Saved> SavedModels() {
  std::ifstream file(std::string(MG_SOURCE_DIR) + "/tests/worker/checkpoint/testdata/architecture_names.json");
  std::vector<Saved> saved;
  for (const auto& entry : nlohmann::json::parse(file)) saved.push_back({entry["architecture"], entry["names"]});
  return saved;
}

class SavedArchitectureTest : public testing::TestWithParam<Saved> {};

TEST_P(SavedArchitectureTest, TheTableKnowsEveryTensorAndMissesNone) {
  const Architecture* architecture = FindArchitecture(GetParam().architecture);
  ASSERT_NE(architecture, nullptr);
  EXPECT_THAT(UnknownTensors(*architecture, GetParam().names), IsEmpty());
  const absl::Status complete = CheckTensors(*architecture, GetParam().architecture, GetParam().names, "dir");
  EXPECT_TRUE(complete.ok()) << complete;
}

TEST_P(SavedArchitectureTest, EveryPartHasItsRole) {
  int layers = 0, embeddings = 0, norms = 0;
  for (const std::string& name : GetParam().names) {
    const TensorRole role = RoleOf(name);
    layers = std::max(layers, role.layer + 1);
    embeddings += role.part == ModelPart::kEmbedding;
    norms += role.part == ModelPart::kNorm;
    // The tower that looks at images has layers of its own, which are no layers of the language model.
    if (absl::StrContains(name, "vision_tower")) EXPECT_FALSE(role.part.has_value()) << name;
  }
  EXPECT_EQ(layers, 2);
  EXPECT_EQ(embeddings, 1);
  EXPECT_GE(norms, 1);
}

TEST_P(SavedArchitectureTest, TheMlpOutputExistsInEveryLayer) {
  const Architecture* architecture = FindArchitecture(GetParam().architecture);
  ASSERT_NE(architecture, nullptr);
  for (int layer : {0, 1}) {
    int found = 0;
    for (const std::string& name : GetParam().names) {
      if (RoleOf(name).layer != layer) continue;
      const std::string number = absl::StrCat(".", layer, ".");
      const std::string rest = name.substr(name.find(number) + number.size());
      for (const absl::string_view pattern : architecture->mlp_output) found += MatchesPattern(rest, pattern);
    }
    EXPECT_GT(found, 0) << "layer " << layer;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SavedArchitectureTest, testing::ValuesIn(SavedModels()),
                         [](const auto& info) { return info.param.architecture + "_" + std::to_string(info.index); });

TEST(ArchitecturesTest, AMissingTensorIsNamed) {
  std::vector<std::string> names = SavedModels()[0].names;
  names.erase(std::find(names.begin(), names.end(), "model.layers.1.self_attn.v_proj.weight"));
  // By the checkpoint's own word: one entry of the table is several families'.
  EXPECT_EQ(CheckTensors(*FindArchitecture("MistralForCausalLM"), "MistralForCausalLM", names, "dir").message(),
            "'dir': tensor 'model.layers.1.self_attn.v_proj.weight' is missing; MistralForCausalLM needs it");
}

TEST(ArchitecturesTest, AnUnknownTensorIsListed) {
  std::vector<std::string> names = SavedModels()[0].names;
  names.push_back("model.layers.0.self_attn.rotary_emb.extra");
  EXPECT_THAT(UnknownTensors(*FindArchitecture("LlamaForCausalLM"), names),
              ElementsAre("model.layers.0.self_attn.rotary_emb.extra"));
}

TEST(ArchitecturesTest, PatternsMatchNumbersAndRests) {
  EXPECT_TRUE(MatchesPattern("a.12.b", "a.#.b"));
  EXPECT_FALSE(MatchesPattern("a..b", "a.#.b"));
  EXPECT_FALSE(MatchesPattern("a.12.bc", "a.#.b"));
  EXPECT_TRUE(MatchesPattern("a.1.experts.7.w2", "a.#.experts.*.w2"));
  EXPECT_FALSE(MatchesPattern("a.1.experts.7.w1", "a.#.experts.*.w2"));
  EXPECT_TRUE(MatchesPattern("vision_tower.x", "vision_tower.*"));
  EXPECT_FALSE(MatchesPattern("vision", "vision_tower.*"));
}

TEST(ArchitecturesTest, LayersOfUnknownFamiliesAreReadOffTheNames) {
  const std::vector<std::string> names = {"odd.embed.weight",
                                          "odd.encoder.layer.0.a.weight",
                                          "odd.encoder.layer.1.a.weight",
                                          "odd.encoder.layer.1.b.weight",
                                          "odd.side.0.weight",
                                          "odd.top.weight"};
  const TensorRoles roles = TensorRoles::Infer(names);
  EXPECT_EQ(roles.inferred_prefix(), "odd.encoder.layer.");
  EXPECT_EQ(roles.Layers(names), 2);
  EXPECT_EQ(roles.Of(names[3]), (TensorRole{ModelPart::kLayers, 1}));
  EXPECT_EQ(roles.Of("odd.side.0.weight"), TensorRole{});
  EXPECT_EQ(TensorRoles::Infer(SavedModels()[0].names).inferred_prefix(), "");
}

TEST(ArchitecturesTest, ALayersNumberIsReplacedInItsPlaceOnly) {
  const std::string name = "model.layers.3.block.3.weight";
  EXPECT_EQ(WithLayer(name, {ModelPart::kLayers, 3}, 11), "model.layers.11.block.3.weight");
  EXPECT_EQ(WithLayer("model.norm.weight", {ModelPart::kNorm, -1}, 11), "model.norm.weight");
}

}  // namespace
}  // namespace merganser

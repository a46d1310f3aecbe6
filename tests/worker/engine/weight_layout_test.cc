#include "worker/engine/weight_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/worker/engine/engine_testing.h"

namespace merganser {
namespace {

std::vector<std::string> Names(const ModelConfig& config) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : WeightLayout(config)) names.push_back(spec.name);
  return names;
}

// Whether `names` has these, one after the other.
bool HasRun(const std::vector<std::string>& names, const std::vector<std::string>& run) {
  return std::search(names.begin(), names.end(), run.begin(), run.end()) != names.end();
}

TEST(WeightLayoutTest, FusedTensorsAreNeighbours) {
  ModelConfig config = SmallConfig();
  config.attention_bias = config.mlp_bias = true;
  const auto names = Names(config);
  for (const char* kind : {"weight", "bias"}) {
    for (const int layer : {0, 1}) {
      const auto name = [&](const char* module) {
        return LayerTensorName(layer, absl::StrCat(module, ".", kind));
      };
      EXPECT_TRUE(HasRun(
          names, {name("self_attn.q_proj"), name("self_attn.k_proj"), name("self_attn.v_proj")}));
      EXPECT_TRUE(HasRun(names, {name("mlp.gate_proj"), name("mlp.up_proj")}));
    }
  }
  EXPECT_EQ(names.size(), 1 + 2 * 16 + 2u);
}

TEST(WeightLayoutTest, TiedModelHasNoOutputMatrix) {
  ModelConfig config = SmallConfig();
  EXPECT_EQ(Names(config).back(), "lm_head.weight");
  config.tie_word_embeddings = true;
  EXPECT_EQ(Names(config).back(), "model.norm.weight");
}

TEST(WeightLayoutTest, ShapesFollowTheConfig) {
  const auto layout = WeightLayout(SmallConfig());
  EXPECT_THAT(layout,
              testing::Contains(TensorSpec{"model.layers.1.self_attn.k_proj.weight", {16, 32}}));
  EXPECT_THAT(layout,
              testing::Contains(TensorSpec{"model.layers.0.self_attn.o_proj.weight", {32, 32}}));
  EXPECT_THAT(layout,
              testing::Contains(TensorSpec{"model.layers.0.mlp.down_proj.weight", {32, 24}}));
}

}  // namespace
}  // namespace merganser

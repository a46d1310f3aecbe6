#include "worker/engine/weight_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

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
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  const auto names = Names(config);
  for (const char* kind : {"weight", "bias"}) {
    for (const int layer : {0, 1}) {
      const auto name = [&](const char* module) { return LayerTensorName(layer, absl::StrCat(module, ".", kind)); };
      EXPECT_TRUE(HasRun(names, {name("self_attn.q_proj"), name("self_attn.k_proj"), name("self_attn.v_proj")}));
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
  EXPECT_THAT(layout, testing::Contains(TensorSpec{"model.layers.1.self_attn.k_proj.weight", {16, 32}}));
  EXPECT_THAT(layout, testing::Contains(TensorSpec{"model.layers.0.self_attn.o_proj.weight", {32, 32}}));
  EXPECT_THAT(layout, testing::Contains(TensorSpec{"model.layers.0.mlp.down_proj.weight", {32, 24}}));
}

TEST(WeightLayoutTest, FamiliesAddTheirNorms) {
  ModelConfig config = SmallConfig();
  const size_t plain = WeightLayout(config).size();
  config.qk_norm = true;
  EXPECT_EQ(WeightLayout(config).size(), plain + 2 * 2);
  config.output_norms = true;
  EXPECT_EQ(WeightLayout(config).size(), plain + 2 * 4);
}

TEST(StoredPathTest, WrongTensorsAreNamed) {
  std::vector<int32_t> layers{0, 1, -1};
  std::vector<float> scales{1, 2, 3};
  class Source : public WeightSource {
   public:
    absl::StatusOr<WeightView> Find(absl::string_view name) const override {
      const auto it = views.find(std::string(name));
      if (it == views.end()) return absl::NotFoundError(absl::StrCat("no '", name, "'"));
      return it->second;
    }
    std::map<std::string, WeightView> views;
  } source;
  EXPECT_EQ(ReadStoredPath(source, 3).status().code(), absl::StatusCode::kNotFound);
  source.views["model.input_layers"] = {DType::kI32, {3}, reinterpret_cast<std::byte*>(layers.data())};
  source.views["model.input_scales"] = {DType::kF32, {3}, reinterpret_cast<std::byte*>(scales.data())};
  EXPECT_EQ(ReadStoredPath(source, 3).status().message(), "hop 2 of the model's path is layer -1 with scale 3");
  layers[2] = 5;
  const auto path = ReadStoredPath(source, 3);
  ASSERT_TRUE(path.ok());
  EXPECT_EQ((*path)[2].layer, 5);
  EXPECT_EQ((*path)[1].scale, 2);
  EXPECT_EQ(ReadStoredPath(source, 4).status().message(),
            "tensor 'model.input_layers' is I32 with shape [3]; num_hops asks for I32 with shape [4]");
  source.views["model.input_scales"].dtype = DType::kBF16;
  EXPECT_EQ(ReadStoredPath(source, 3).status().message(),
            "tensor 'model.input_scales' is BF16 with shape [3]; num_hops asks for F32 with shape [3]");
}

}  // namespace
}  // namespace merganser

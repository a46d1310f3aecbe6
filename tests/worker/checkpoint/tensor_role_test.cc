#include "worker/checkpoint/tensor_role.h"

#include <gtest/gtest.h>

namespace merganser {
namespace {

TEST(TensorRoleTest, LlamaNamesHaveTheirPart) {
  EXPECT_EQ(RoleOf("model.embed_tokens.weight"), (TensorRole{ModelPart::kEmbedding, -1}));
  EXPECT_EQ(RoleOf("model.layers.0.input_layernorm.weight"), (TensorRole{ModelPart::kLayers, 0}));
  EXPECT_EQ(RoleOf("model.layers.31.mlp.down_proj.weight"), (TensorRole{ModelPart::kLayers, 31}));
  EXPECT_EQ(RoleOf("model.norm.weight"), (TensorRole{ModelPart::kNorm, -1}));
  EXPECT_EQ(RoleOf("lm_head.weight"), (TensorRole{ModelPart::kHead, -1}));
}

TEST(TensorRoleTest, OtherNamesHaveNone) {
  for (const char* name : {"", "model.", "model.layers", "model.layers.", "model.layers.3", "model.layers.x.mlp.weight",
                           "model.layers.-1.mlp.weight", "model.layers.01.mlp.weight", "model.layers.99999999999.mlp.weight",
                           "model.normal.weight", "vision_tower.model.norm.weight", "lm_heads.weight"}) {
    EXPECT_EQ(RoleOf(name), TensorRole{}) << name;
  }
}

}  // namespace
}  // namespace merganser

// In bf16 the decoder's operations round where transformers rounds: the same bits
// (tests/golden/engine_goldens.py, `rounding`).
#include <gtest/gtest.h>

#include <cstring>

#include "worker/checkpoint/safetensors_reader.h"
#include "worker/engine/aten_forms.h"

namespace merganser {
namespace {

class RoundingTest : public testing::Test {
 protected:
  void SetUp() override {
    auto reader = SafetensorsReader::Open(MG_SOURCE_DIR "/tests/worker/engine/testdata/rounding/rounding.safetensors");
    ASSERT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
  }
  at::Tensor Golden(const char* name) const {
    const TensorView* view = reader_->Find(name);
    EXPECT_NE(view, nullptr) << name;
    EXPECT_EQ(view->dtype, DType::kBF16);
    at::Tensor tensor = at::empty(view->shape, at::kBFloat16);
    std::memcpy(tensor.data_ptr(), view->data.data(), view->data.size());
    return tensor;
  }

  std::unique_ptr<const SafetensorsReader> reader_;
};

TEST_F(RoundingTest, RmsNormRoundsBeforeTheWeight) {
  EXPECT_TRUE(at::equal(RmsNorm(Golden("x"), Golden("weight"), 1e-5), Golden("llama_norm")));
}

TEST_F(RoundingTest, GemmaNormRoundsAfterTheWeight) {
  const at::Tensor plus_one = Golden("weight").to(at::kFloat) + 1.0;
  EXPECT_TRUE(at::equal(GemmaNorm(Golden("x"), plus_one, 1e-5), Golden("gemma_norm")));
}

TEST_F(RoundingTest, RotationRoundsBothProductsAndTheSum) {
  at::Tensor heads = Golden("qk");
  const at::Tensor cos = Golden("cos").unsqueeze(1);
  at::Tensor sin = Golden("sin").unsqueeze(1).clone();
  sin.narrow(2, 0, sin.size(2) / 2).neg_();
  RotateHeads(heads, cos, sin);
  EXPECT_TRUE(at::equal(heads, Golden("rotated")));
}

TEST_F(RoundingTest, ScaleRoundsBeforeTheSum) {
  at::Tensor sum = Golden("residual").clone();
  AddScaled(sum, Golden("down"), 1.1f);
  EXPECT_TRUE(at::equal(sum, Golden("scaled_sum")));
}

}  // namespace
}  // namespace merganser

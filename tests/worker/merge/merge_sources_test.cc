#include "worker/merge/merge_sources.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::NamedTensor;

const NamedTensor kNorm{"model.norm.weight", {2}, {1, 2}};
const NamedTensor kHead{"lm_head.weight", {1, 2}, {3, 4}};

std::string Message(const std::map<std::string, MergeSources::Model>& models, const std::vector<NamedTensor>& layout) {
  const auto sources = MergeSources::Create(models, MakeLayout(layout, DType::kF32));
  EXPECT_EQ(sources.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(sources.status().message());
}

TEST(MergeSourcesTest, DifferentShapesNameTensorModelsAndShapes) {
  EXPECT_EQ(Message({{"base", MakeModel({kNorm}, DType::kF32, "m/base")},
                     {"ja", MakeModel({{kNorm.name, {1, 2}, {1, 2}}}, DType::kF32, "m/ja")}},
                    {kNorm}),
            "tensor 'model.norm.weight' has shape [1, 2] in 'ja' (m/ja) but [2] in 'base' (m/base)");
}

TEST(MergeSourcesTest, AShapeOtherThanTheLayoutsIsNamed) {
  EXPECT_EQ(Message({{"base", MakeModel({kNorm}, DType::kF32, "m/base")}}, {{kNorm.name, {3}, {}}}),
            "tensor 'model.norm.weight' has shape [2] in 'base' (m/base) but [3] in the layout of "
            "the merged weights");
}

TEST(MergeSourcesTest, TiedAndUntiedHeadsDoNotMix) {
  const std::map<std::string, MergeSources::Model> models = {{"base", MakeModel({kNorm, kHead}, DType::kF32, "m/base")},
                                                             {"ja", MakeModel({kNorm}, DType::kF32, "m/ja")}};
  EXPECT_THAT(Message(models, {kNorm, kHead}),
              HasSubstr("tensor 'lm_head.weight' is in 'base' (m/base) but not in 'ja' (m/ja); one "
                        "of them ties its head"));
  std::map<std::string, MergeSources::Model> swapped = {{"a", models.at("ja")}, {"b", models.at("base")}};
  EXPECT_THAT(Message(swapped, {kNorm}), HasSubstr("is in 'b' (m/base) but not in 'a' (m/ja); one of them ties its head"));
}

TEST(MergeSourcesTest, AHeadThatIsTiedAnywayMayLieInTheFile) {
  MergeSources::Model model = MakeModel({kNorm, kHead}, DType::kF32);
  model.tied_head = true;
  EXPECT_TRUE(MergeSources::Create({{"a", model}}, MakeLayout({kNorm}, DType::kF32)).ok());
  model.tied_head = false;
  EXPECT_THAT(Message({{"a", model}}, {kNorm}), HasSubstr("not in the layout of the merged weights"));
}

TEST(MergeSourcesTest, TensorsOutsideTheLayoutAreErrors) {
  EXPECT_EQ(Message({{"a", MakeModel({kNorm, {"extra", {1}, {5}}}, DType::kF32)}}, {kNorm}),
            "tensor 'extra' is in 'a' but not in the layout of the merged weights");
}

TEST(MergeSourcesTest, IntegerTensorsAreRefused) {
  MergeSources::Model model = MakeModel({kNorm}, DType::kF32);
  model.tensors[0].dtype = DType::kI32;
  EXPECT_EQ(Message({{"a", model}}, {kNorm}),
            "tensor 'model.norm.weight' of 'a' has type I32; only F64, F32, F16 and BF16 can be merged");
}

TEST(MergeSourcesTest, ModelsAreNumberedByName) {
  const auto model = MakeModel({kNorm}, DType::kBF16);
  const auto sources = MergeSources::Create({{"b", model}, {"a", model}}, MakeLayout({kNorm}, DType::kBF16));
  ASSERT_TRUE(sources.ok());
  EXPECT_EQ((*sources)->IndexOf("a"), 0);
  EXPECT_EQ((*sources)->IndexOf("b"), 1);
  EXPECT_EQ((*sources)->IndexOf("c"), -1);
}

TEST(MergeSourcesTest, NoModelIsAnError) { EXPECT_EQ(Message({}, {kNorm}), "a merge needs at least one model"); }

}  // namespace
}  // namespace merganser

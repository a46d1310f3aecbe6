// Whole small models against mergekit 0.1.5's run_merge (tests/golden/whole_model_goldens.py): its arithmetic, its
// parameters by layer and by filter, and its random stream through all tensors in the order of their names.
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "common/base/sha256.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/merge/merge_models.h"
#include "worker/merge/masks.h"

namespace merganser {
namespace {

using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::NamedTensor;
using testing_merge::Values;
using Parameters = std::map<std::string, double>;

const nlohmann::json& Document() {
  static const auto* const document = [] {
    std::ifstream file(MG_SOURCE_DIR "/tests/worker/merge/testdata/whole_models.json");
    return new nlohmann::json(nlohmann::json::parse(file));
  }();
  return *document;
}

// Words of the stream as signed fractions of 2^31.
Values Fractions(const std::string& model, const std::string& tensor, int64_t count) {
  std::vector<uint32_t> words((count / MaskStream::kFillWords + 1) * MaskStream::kFillWords);
  MaskStream::For(99, model, tensor).Fill(0, count, words.data());
  Values values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(static_cast<int32_t>(words[i])) * 0x1p-31f;
  return values;
}

MergeSources::Model FamilyModel(const nlohmann::json& tensors, const std::string& model) {
  std::vector<NamedTensor> all;
  for (const auto& entry : tensors) {
    NamedTensor tensor{entry[0], entry[1], {}};
    int64_t count = 1;
    for (const int64_t dim : tensor.shape) count *= dim;
    tensor.values = Fractions("base", tensor.name, count);
    for (float& value : tensor.values) value *= 0.5f;
    if (model != "base") {
      const Values own = Fractions(model, tensor.name, count);
      for (int64_t i = 0; i < count; ++i) tensor.values[i] += own[i] < -0.5f ? 0.0f : 0.1f * own[i];
    }
    all.push_back(std::move(tensor));
  }
  return MakeModel(all, DType::kBF16);
}

class WholeModelGoldenTest : public ::testing::TestWithParam<nlohmann::json> {};

TEST_P(WholeModelGoldenTest, EveryTensorHasMergekitsBytes) {
  const nlohmann::json& golden = GetParam();
  const nlohmann::json& tensors = Document()["tensors"][golden["family"]];
  std::vector<std::string> sources = golden["sources"];
  std::map<std::string, MergeSources::Model> models;
  for (const std::string& source : sources) models[source] = FamilyModel(tensors, source);
  if (golden["base"]) models["base"] = FamilyModel(tensors, "base");

  Stack stack{"merged", golden["method"], golden["base"] ? "base" : "", sources, {}};
  stack.arithmetic = Arithmetic::kMergekit;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const nlohmann::json& group = golden["groups"][golden["group_of"][t].get<size_t>()];
    TensorGroup one;
    one.name = one.filter = tensors[t][0];
    stack.settings.push_back({one, group["own"].get<std::vector<Parameters>>(), group["whole"].get<Parameters>()});
  }
  Recipe recipe;
  recipe.stacks = {stack};
  recipe.dtype = golden["dtype"];
  recipe.mask_seed = Document()["seed"];
  std::vector<NamedTensor> named;
  for (const auto& entry : tensors) named.push_back({entry[0], entry[1], {}});
  const DType dtype = *ParseConfigDType(recipe.dtype);
  const auto bound = *MergeSources::Create(models, MakeLayout(named, dtype));
  auto materializer = *Materializer::Create(bound, {.threads = 2});
  auto arena = *Arena::Create(bound->layout());
  const auto plan = MergePlan::Build(recipe, recipe.stacks[0], bound);
  ASSERT_TRUE(plan.ok()) << plan.status();

  const absl::Status run = materializer->Run(*plan, *arena);

  ASSERT_TRUE(run.ok()) << run;
  for (int t = 0; t < static_cast<int>(named.size()); ++t) {
    const absl::string_view bytes(reinterpret_cast<const char*>(arena->data(t)), arena->layout().tensors()[t].NumBytes());
    EXPECT_EQ(Sha256Hex(bytes).substr(0, 8), golden["sha256"][t].get<std::string>()) << named[t].name;
  }
}

std::vector<nlohmann::json> Cases() { return Document()["cases"]; }

INSTANTIATE_TEST_SUITE_P(All, WholeModelGoldenTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param["name"].template get<std::string>(); });

}  // namespace
}  // namespace merganser

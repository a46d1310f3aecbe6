// Every method against mergekit 0.1.5 on several shapes and settings (method_vectors of tests/golden/merge_goldens.py): our
// own fp32 arithmetic within 1e-6, and mergekit's arithmetic bit by bit where its result is defined.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::MergeAll;
using testing_merge::OneGroup;
using testing_merge::Values;

const nlohmann::json& Document() {
  static const auto* const document = [] {
    std::ifstream file(MG_SOURCE_DIR "/tests/worker/merge/testdata/method_vectors.json");
    return new nlohmann::json(nlohmann::json::parse(file));
  }();
  return *document;
}

Values Decode(const nlohmann::json& text, DType dtype) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(text.get<std::string>(), &bytes));
  const int64_t count = static_cast<int64_t>(bytes.size()) / SizeOf(dtype);
  Values values(count);
  LoadBlock({dtype, reinterpret_cast<const std::byte*>(bytes.data()), count}, 0, count, values.data());
  return values;
}

class MethodGoldenTest : public ::testing::TestWithParam<nlohmann::json> {
 protected:
  DType dtype() const { return *ParseConfigDType(std::string(GetParam()["dtype"])); }
  Values Want() const { return Decode(GetParam()["out"], dtype()); }

  Values Merged() const {
    const nlohmann::json& golden = GetParam();
    const std::string tensor = Document()["tensor"];
    const std::vector<int64_t> shape = Document()["shapes"][golden["shape"]];
    const bool has_base = golden["base"];
    std::map<std::string, MergeSources::Model> models;
    std::vector<std::string> sources;
    for (size_t s = 0; s < golden["own"].size(); ++s) sources.push_back(std::string(1, static_cast<char>('a' + s)));
    for (const auto& [name, values] : Document()["inputs"][golden["shape"]].items()) {
      if (name == "base" ? !has_base : std::find(sources.begin(), sources.end(), name) == sources.end()) continue;
      models[name] = MakeModel({{tensor, shape, Decode(values, DType::kF32)}}, dtype());
    }
    Recipe recipe = OneGroup(golden["method"], has_base ? "base" : "", sources,
                             golden["own"].get<std::vector<std::map<std::string, double>>>(),
                             golden["whole"].get<std::map<std::string, double>>(), golden["dtype"]);
    const bool like_mergekit = golden["arithmetic"] == "mergekit";
    if (like_mergekit) recipe.stacks[0].arithmetic = Arithmetic::kMergekit;
    recipe.mask_seed = Document()[like_mergekit ? "seed" : "mask_seed"];
    const auto bound = MergeSources::Create(models, MakeLayout({{tensor, shape, {}}}, dtype()));
    EXPECT_TRUE(bound.ok()) << bound.status();
    const auto merged = MergeAll(recipe, *bound);
    EXPECT_TRUE(merged.ok()) << merged.status();
    return merged.ok() ? (*merged)[0] : Values{};
  }
};

std::vector<nlohmann::json> Cases(const std::string& arithmetic) {
  std::vector<nlohmann::json> cases;
  for (const nlohmann::json& golden : Document()["cases"]) {
    if (golden["arithmetic"] == arithmetic) cases.push_back(golden);
  }
  return cases;
}

std::string CaseName(const ::testing::TestParamInfo<nlohmann::json>& info) { return info.param["name"]; }

using Fp32Test = MethodGoldenTest;

TEST_P(Fp32Test, AgreesWithMergekit) {
  const Values want = Want(), merged = Merged();
  ASSERT_EQ(merged.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(merged[i], want[i], 1e-6 * std::max(1.0f, std::fabs(want[i]))) << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(AllMethods, Fp32Test, ::testing::ValuesIn(Cases("fp32")), CaseName);

using MergekitArithmeticTest = MethodGoldenTest;

// Sums over a whole tensor: torch adds up fp32 in an order of its own, so their last bit is not defined.
bool HasSums(const nlohmann::json& golden) {
  const auto whole = golden["whole"].get<std::map<std::string, double>>();
  const std::string method = golden["method"];
  const bool random = method.starts_with("dare") || method.starts_with("della");
  const auto rescale = whole.find("rescale");
  return FindMergeMethod(method)->statistic() == MergeMethod::Statistic::kProducts || method == "sce" ||
         method == "arcee_fusion" || (rescale != whole.end() ? rescale->second != 0 : random);
}

TEST_P(MergekitArithmeticTest, RepeatsMergekit) {
  const Values want = Want(), merged = Merged();
  ASSERT_EQ(merged.size(), want.size());
  const bool exact = dtype() != DType::kF32 || !HasSums(GetParam());
  for (size_t i = 0; i < want.size(); ++i) {
    if (exact) {
      ASSERT_EQ(merged[i], want[i]) << "element " << i;
    } else {
      ASSERT_NEAR(merged[i], want[i], 2e-6 * std::max(1.0f, std::fabs(want[i]))) << "element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllMethods, MergekitArithmeticTest, ::testing::ValuesIn(Cases("mergekit")), CaseName);

}  // namespace
}  // namespace merganser

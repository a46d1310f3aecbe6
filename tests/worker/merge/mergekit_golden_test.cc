// Every method against vectors that mergekit 0.1.5 computed (tests/golden/merge_goldens.py).
#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/merge/merge_models.h"
#include "worker/merge/masks.h"

namespace merganser {
namespace {

using testing_merge::MakeLayout;
using testing_merge::MakeModel;
using testing_merge::MergeAll;
using testing_merge::OneGroup;
using testing_merge::Values;

nlohmann::json Document() {
  std::ifstream file(MG_SOURCE_DIR "/tests/worker/merge/testdata/merge_vectors.json");
  return nlohmann::json::parse(file);
}

TEST(MergekitGoldenTest, MaskWordsFollowTheirWrittenDefinition) {
  const nlohmann::json golden = Document()["mask_words"];
  std::vector<uint32_t> words(MaskStream::kFillWords);
  MaskStream::For(golden["seed"], std::string(golden["model"]), std::string(golden["tensor"])).Fill(0, 24, words.data());
  for (int i = 0; i < 24; ++i) EXPECT_EQ(words[i], golden["first"][i].get<uint32_t>()) << i;
}

class MergekitGoldenTest : public ::testing::TestWithParam<nlohmann::json> {};

TEST_P(MergekitGoldenTest, GivesMergekitsValues) {
  static const nlohmann::json document = Document();
  const nlohmann::json& golden = GetParam();
  const std::vector<int64_t> shape = document["shape"];
  const std::string tensor = document["tensor"];
  const bool has_base = golden["method"] != "linear";
  std::map<std::string, MergeSources::Model> models;
  for (const auto& [name, values] : document["inputs"].items()) {
    if (name == "base" && !has_base) continue;
    models[name] = MakeModel({{tensor, shape, values.get<Values>()}}, DType::kF32);
  }
  const std::vector<double> weights = golden["weights"];
  std::vector<std::string> sources;
  std::vector<std::map<std::string, double>> source_parameters;
  for (size_t s = 0; s < weights.size(); ++s) {
    sources.push_back(std::string(1, static_cast<char>('a' + s)));
    source_parameters.push_back({{"weight", weights[s]}});
    if (!golden["densities"].is_null()) source_parameters.back()["density"] = golden["densities"][s];
  }
  Recipe recipe = OneGroup(golden["method"], has_base ? "base" : "", sources, source_parameters,
                           golden["shared"].get<std::map<std::string, double>>());
  recipe.mask_seed = document["mask_seed"];

  auto bound = MergeSources::Create(models, MakeLayout({{tensor, shape, {}}}, DType::kF32));
  ASSERT_TRUE(bound.ok()) << bound.status();
  const auto merged = MergeAll(recipe, *bound);

  ASSERT_TRUE(merged.ok()) << merged.status();
  const Values want = golden["out"];
  ASSERT_EQ((*merged)[0].size(), want.size());
  // The same fp32 operations, but torch adds and sums norms in an order of its own: a few units in
  // the last place of values around 1 (1.2e-7 each), more where `normalize` divides by a small sum.
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR((*merged)[0][i], want[i], 2e-6 * std::max(1.0f, std::fabs(want[i]))) << "element " << i;
  }
}

std::vector<nlohmann::json> Cases() { return Document()["cases"]; }

INSTANTIATE_TEST_SUITE_P(AllMethods, MergekitGoldenTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param["name"].template get<std::string>(); });

}  // namespace
}  // namespace merganser

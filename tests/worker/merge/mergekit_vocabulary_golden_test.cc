// Tokenizer blocks against mergekit 0.1.5: each token's row of the merged embedding, and the padding's, of models whose
// tokenizers differ (tests/golden/mergekit_vocabulary_goldens.py), to 2e-6 of the largest value.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gtest/gtest.h"
#include "tests/worker/merge/recipe_export_testing.h"
#include "worker/merge/mergekit_reader.h"

namespace merganser {
namespace {

using nlohmann::json;
using testing_merge::NewTestFolder;
using testing_merge::Options;
using testing_merge::ReadTensors;
using testing_merge::ReadWhole;
using testing_merge::SmallLlama;
using testing_merge::TokenizerJson;
using testing_merge::Values;
using testing_merge::Write;

json Goldens() {
  std::ifstream file(std::string(MG_SOURCE_DIR) + "/tests/worker/merge/testdata/mergekit_vocabularies.json");
  return json::parse(file);
}

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  const json goldens = Goldens();
  for (const auto& [name, one] : goldens["cases"].items()) names.push_back(name);
  return names;
}

class MergekitVocabularyGoldenTest : public testing::TestWithParam<std::string> {
 protected:
  MergekitVocabularyGoldenTest() {
    int number = 0;
    for (const char* name : {"base", "a", "b", "c"}) {
      std::vector<std::string> tokens, added;
      for (const std::string token : goldens_["tokenizers"][name]) (token[0] == '<' ? added : tokens).push_back(token);
      dirs_[name] = Write(SmallLlama(number++), {{"tokenizer.json", TokenizerJson(tokens, added)}});
    }
  }

  // Exports what the text says, and compares the rows.
  void ExpectRows(const std::string& text, std::string* written) {
    const json& golden = goldens_["cases"][GetParam()];
    const ModelResolver resolver = [&](const std::string& path) -> absl::StatusOr<std::string> { return dirs_.at(path); };
    const auto recipe =
        ReadMergekitYaml(text, "m.yml", [&](const ModelRef& model) { return ReadModelFacts(model, resolver); });
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    const RecipeExportOptions options = Options();
    const auto facts = ExportRecipeFiles(*recipe, resolver, options, {});
    ASSERT_TRUE(facts.ok()) << facts.status();
    EXPECT_EQ(facts->no_mergekit_yaml, "");
    *written = ReadWhole(options.out_dir + "/mergekit.yaml");

    const Values rows = ReadTensors(options.out_dir).at("model.embed_tokens.weight");
    const json tokenizer = json::parse(ReadWhole(options.out_dir + "/tokenizer.json"));
    std::map<std::string, size_t> ids = tokenizer["model"]["vocab"];
    for (const json& added : tokenizer["added_tokens"]) ids[added["content"]] = added["id"];
    ASSERT_EQ(ids.size(), golden["rows"].size());
    const auto expect_row = [&](size_t row, const json& want, const std::string& what) {
      for (size_t i = 0; i < want.size(); ++i) {
        const float wanted = want[i].get<float>();
        EXPECT_NEAR(rows.at(row * want.size() + i), wanted, 2e-6 * std::max(1.0f, std::abs(wanted)))
            << what << "[" << i << "]";
      }
    };
    for (const auto& [token, want] : golden["rows"].items()) {
      ASSERT_EQ(ids.count(token), 1u) << token;
      expect_row(ids.at(token), want, token);
    }
    for (size_t i = 0; i < golden["padding"].size(); ++i) expect_row(ids.size() + i, golden["padding"][i], "padding");
  }

  const json goldens_ = Goldens();
  std::map<std::string, std::string> dirs_;
};

TEST_P(MergekitVocabularyGoldenTest, EachTokenHasMergekitsRow) {
  std::string written, again;
  ExpectRows(std::string(goldens_["cases"][GetParam()]["yaml"]) + "dtype: float32\n", &written);
  // What is written of it says the same.
  ExpectRows(written, &again);
  EXPECT_EQ(again, written);
}

INSTANTIATE_TEST_SUITE_P(All, MergekitVocabularyGoldenTest, testing::ValuesIn(CaseNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace merganser

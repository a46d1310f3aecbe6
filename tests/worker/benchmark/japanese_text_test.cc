// Japanese text for ROUGE, held to the published scorer's Python packages (tests/golden/vlm_scores.py).
#include "worker/benchmark/japanese_text.h"

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/morphemes.h"
#include "worker/benchmark/scorer.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

TEST(JapaneseText, EmojiGo) {
  EXPECT_EQ(WithoutEmoji("泳いでいる😀。🇯🇵☀️A1"),
            "泳いでいる。\xEF\xB8\x8F"
            "A1");
  EXPECT_EQ(WithoutEmoji("\xFF"
                         "a"),
            "\xFF"
            "a");
}

// Each pair is what neologdn 0.5.2 gives.
TEST(JapaneseText, NormalisesAsNeologdn) {
  const std::pair<const char*, const char*> cases[] = {
      {"シマウマ ～ が　２頭 います！！", "シマウマが2頭います!!"},
      {"ﾊﾟﾝｺﾞﾊﾝ", "パンゴハン"},
      {"スーーパー——カリ", "スーパーカリ"},
      {"o₋o﹣o", "o-oーo"},
      {"Ａ　Ｂ c  d 東京 タワー x", "A B c d東京タワーx"},
      {"PRML　副読本 the * 日 本", "PRML副読本the *日本"},
      {"  先頭と末尾  ", "先頭と末尾"},
      {"~∼∾〜〰～", ""},
      {"カ゛ハ゜は゜う゛か゛", "ガパぱゔか\xEF\xBE\x9E"},
  };
  for (const auto& [given, want] : cases) EXPECT_EQ(NormalizedJapanese(given), want) << given;
}

TEST(Morphemes, AMissingDictionarySaysWhatToInstallAndSet) {
  const char* const before = std::getenv("UNIDIC_LITE_PATH");
  const std::string kept = before != nullptr ? before : "";
  unsetenv("UNIDIC_LITE_PATH");
  const auto nowhere = FindMecabDictionary({TestFolder()});
  setenv("UNIDIC_LITE_PATH", TestFolder().c_str(), 1);
  const auto empty = FindMecabDictionary({});
  WriteTestFile("sys.dic", "no dictionary");
  const auto broken = Morphemes::Load(FindMecabDictionary({}).value());
  if (before != nullptr) {
    setenv("UNIDIC_LITE_PATH", kept.c_str(), 1);
  } else {
    unsetenv("UNIDIC_LITE_PATH");
  }
  ExpectError(nowhere, StatusCode::kFailedPrecondition,
              AllOf(HasSubstr("pip install unidic-lite"), HasSubstr("set UNIDIC_LITE_PATH")));
  ExpectError(empty, StatusCode::kFailedPrecondition, HasSubstr("holds no sys.dic"));
  ExpectError(broken, StatusCode::kInvalidArgument, HasSubstr(TestFolder()));
}

class VlmScores : public testing::Test {
 protected:
  void SetUp() override {
    if (!FindMecabDictionary({}).ok()) GTEST_SKIP() << FindMecabDictionary({}).status().message();
    std::ifstream file(SourcePath("tests/worker/benchmark/testdata/vlm_scores.jsonl"));
    for (std::string line; std::getline(file, line);) {
      const auto row = nlohmann::json::parse(line);
      (row["source"] == "medians" ? medians_ : rows_.emplace_back()) = row;
    }
    ASSERT_EQ(rows_.size(), 200u);
  }
  std::vector<nlohmann::json> rows_;
  nlohmann::json medians_;
};

TEST_F(VlmScores, WordsAreFugashis) {
  const auto morphemes = Morphemes::Load(FindMecabDictionary({}).value());
  ASSERT_TRUE(morphemes.ok()) << morphemes.status();
  int checked = 0;
  for (const auto& row : rows_) {
    if (!row.contains("words")) continue;
    ++checked;
    EXPECT_EQ(absl::StrJoin((*morphemes)->Words(row["completion"].get<std::string>()).value(), " "), row["words"]);
  }
  EXPECT_EQ(checked, 50);
}

TEST_F(VlmScores, EverySampleAndTheAggregatesAreThePublishedOnes) {
  BenchmarkSettings settings;
  settings.name = settings.use = "ja_vlm_bench_in_the_wild";
  const auto definition = ResolveBenchmark(settings);
  ASSERT_TRUE(definition.ok()) << definition.status();
  const auto scorer = Scorer::Create(*definition, {LanguageModelPath()}, {});
  ASSERT_TRUE(scorer.ok()) << scorer.status();
  std::vector<Sample> samples;
  std::vector<std::string> completions;
  for (const auto& row : rows_) {
    Sample& sample = samples.emplace_back();
    sample.references = {row["answer"]};
    sample.answer = sample.references.front();
    completions.push_back(row["completion"]);
  }
  const auto result = (*scorer)->Score(samples, completions);
  ASSERT_TRUE(result.ok()) << result.status();
  int ruled_out = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto& values = result->samples[i].values;
    EXPECT_NEAR(values.at("p_ja"), rows_[i]["p_ja"].get<double>(), 1e-5) << i;
    for (const char* metric : {"rouge1", "rouge2", "rougeL"}) {
      EXPECT_NEAR(values.at(metric), rows_[i]["rouge"][metric].get<double>(), 1e-12) << metric << " of sample " << i;
      EXPECT_NEAR(values.at(std::string(metric) + "_ja"), rows_[i]["rouge_ja"][metric].get<double>(), 1e-12)
          << metric << " of sample " << i;
    }
    ruled_out += rows_[i]["rouge"] != rows_[i]["rouge_ja"];
  }
  EXPECT_GT(ruled_out, 5);
  // Of numpy with seed 0, ours of its seed 1234: medians of 1000 means of 200 samples agree within their own spread.
  for (const auto& [metric, value] : medians_["medians"].items()) {
    EXPECT_NEAR(result->metrics.at(metric + "_median"), value.get<double>(), 2e-3) << metric;
    EXPECT_NEAR(result->metrics.at(metric + "_median"), result->metrics.at(metric), 2e-3) << metric;
    EXPECT_NE(result->metrics.at(metric + "_median"), result->metrics.at(metric)) << metric;
  }
}

}  // namespace
}  // namespace merganser

// Our scorer against published per-item logs: the counts that the published rules give, and
// JP-LMEH's own stored values.
#include <nlohmann/json.hpp>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/score_command.h"

namespace merganser {
namespace {

struct Published {
  const char* model;
  int stored_correct;  // JP-LMEH
  int acc;             // Sakana's rule
  int acc_ja;
  int japanese;  // completions with p(ja) > 0.5
};

class ReferenceScoresTest : public testing::TestWithParam<Published> {
 protected:
  ScoredCompletions Score(const std::string& use) {
    BenchmarkSpec spec;
    spec.name = "mgsm";
    spec.use = use;
    const std::string log = SourcePath(absl::StrCat("tests/data/reference-scores/", GetParam().model, ".jsonl"));
    auto scored = ScoreCompletions(*ResolveBenchmark(spec), log, {LanguageModelPath()});
    EXPECT_TRUE(scored.ok()) << scored.status();
    return scored.ok() ? *std::move(scored) : ScoredCompletions();
  }
};

TEST_P(ReferenceScoresTest, SakanasRuleGivesThePublishedCounts) {
  const auto scored = Score("mgsm_ja");
  ASSERT_EQ(scored.result.samples.size(), 250u);
  EXPECT_DOUBLE_EQ(scored.result.metrics.at("acc"), GetParam().acc / 250.0);
  EXPECT_DOUBLE_EQ(scored.result.metrics.at("acc_ja"), GetParam().acc_ja / 250.0);
  int japanese = 0;
  for (const SampleOutcome& outcome : scored.result.samples) japanese += outcome.values.at("p_ja") > 0.5;
  EXPECT_EQ(japanese, GetParam().japanese);
}

TEST_P(ReferenceScoresTest, JpLmehsRuleRepeatsEveryStoredItem) {
  const auto scored = Score("mgsm_ja_lmeh");
  ASSERT_EQ(scored.result.samples.size(), 250u);
  ASSERT_EQ(scored.extra_fields.size(), 250u);
  EXPECT_DOUBLE_EQ(scored.result.metrics.at("acc"), GetParam().stored_correct / 250.0);
  for (size_t i = 0; i < 250; ++i) {
    const auto stored = nlohmann::json::parse(scored.extra_fields[i]);
    const SampleOutcome& outcome = scored.result.samples[i];
    EXPECT_EQ(outcome.correct, stored.at("acc").get<bool>()) << i;
    const auto& extracted = stored.at("extracted_answer");
    EXPECT_EQ(outcome.prediction, extracted.is_string() ? "" : extracted.dump()) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceScoresTest,
                         testing::Values(Published{"open-calm-1b", 2, 2, 2, 243}, Published{"open-calm-3b", 6, 6, 6, 245},
                                         Published{"rinna-3.6b", 2, 2, 2, 249},
                                         Published{"rinna-3.6b-instruction-sft-v2", 6, 6, 6, 249}),
                         [](const auto& info) {
                           std::string name = info.param.model;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace merganser

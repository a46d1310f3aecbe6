#include "worker/benchmark/scorer.h"

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/builtin_benchmarks.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

BenchmarkDefinition MgsmJa() {
  BenchmarkSpec spec;
  spec.name = "mgsm";
  spec.use = "mgsm_ja";
  return *ResolveBenchmark(spec);
}

Sample Answer(double value) {
  Sample sample;
  sample.question = "いくつ？";
  sample.answer = NumberText(value);
  sample.answer_value = value;
  return sample;
}

std::unique_ptr<Scorer> MakeScorer(const BenchmarkDefinition& definition) {
  auto scorer = Scorer::Create(definition, {LanguageModelPath()}, {});
  EXPECT_TRUE(scorer.ok()) << scorer.status();
  return *std::move(scorer);
}

TEST(Scorer, AccCountsTheNumberAndAccJaAlsoTheLanguage) {
  const auto scorer = MakeScorer(MgsmJa());
  const std::vector<Sample> samples = {Answer(18), Answer(18), Answer(18), Answer(18)};
  const auto result = scorer->Score(samples, {"答えは18です。", "The answer is 18.", "答えは17です。", ""});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->benchmark, "mgsm");
  EXPECT_THAT(result->metrics, ElementsAre(Pair("acc", 0.5), Pair("acc_ja", 0.25)));
  const auto& outcomes = result->samples;
  ASSERT_EQ(outcomes.size(), 4u);
  EXPECT_EQ(outcomes[0].prediction, "18.0");
  EXPECT_EQ(outcomes[0].answer, "18");
  EXPECT_EQ(outcomes[0].question, "いくつ？");
  EXPECT_EQ(outcomes[0].completion, "答えは18です。");
  EXPECT_TRUE(outcomes[0].correct);
  EXPECT_NEAR(outcomes[0].values.at("p_ja"), 0.999821, 1e-5);
  EXPECT_EQ(outcomes[1].values.at("acc"), 1);
  EXPECT_EQ(outcomes[1].values.at("acc_ja"), 0);
  EXPECT_FALSE(outcomes[1].correct);
  EXPECT_EQ(outcomes[3].prediction, "");
  EXPECT_EQ(outcomes[3].values.at("acc"), 0);
}

TEST(Scorer, WithoutALanguageNoModelIsNeededAndCorrectIsAcc) {
  BenchmarkDefinition definition = MgsmJa();
  definition.language = "";
  const auto scorer = Scorer::Create(definition, {"/no/such/model.ftz"}, {});
  ASSERT_TRUE(scorer.ok()) << scorer.status();
  const auto result = (*scorer)->Score({Answer(18)}, {"The answer is 18."});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->metrics, ElementsAre(Pair("acc", 1)));
  EXPECT_THAT(result->samples[0].values, ElementsAre(Pair("acc", 1)));
  EXPECT_TRUE(result->samples[0].correct);
}

TEST(Scorer, CommasInACompletionFollowTheRuleNotTheReader) {
  BenchmarkDefinition definition = MgsmJa();
  const std::vector<Sample> samples = {Answer(1000)};
  EXPECT_EQ(MakeScorer(definition)->Score(samples, {"1,000"})->metrics.at("acc"), 0);
  definition.extract = "jp_lmeh";
  EXPECT_EQ(MakeScorer(definition)->Score(samples, {"1,000"})->metrics.at("acc"), 1);
}

TEST(Scorer, CountsMustAgree) {
  const auto scorer = MakeScorer(MgsmJa());
  ExpectError(scorer->Score({Answer(1)}, {"1", "2"}), StatusCode::kInvalidArgument,
              HasSubstr("benchmark 'mgsm': 2 completions for 1 samples"));
  ExpectError(scorer->Score({}, {}), StatusCode::kInvalidArgument, HasSubstr("0 completions for 0 samples"));
}

TEST(Scorer, ErrorsOfItsPartsNameTheBenchmark) {
  BenchmarkDefinition definition = MgsmJa();
  ExpectError(Scorer::Create(definition, {"/no/such/model.ftz"}, {}), StatusCode::kFailedPrecondition,
              HasSubstr("benchmark 'mgsm': language: the language model '/no/such/model.ftz'"));
  definition.language = "japanese";
  ExpectError(Scorer::Create(definition, {LanguageModelPath()}, {}), StatusCode::kInvalidArgument,
              HasSubstr("benchmark 'mgsm': language 'japanese'"));
  definition.extract = "regex";
  ExpectError(Scorer::Create(definition, {LanguageModelPath()}, {}), StatusCode::kInvalidArgument,
              HasSubstr("benchmark 'mgsm': extract 'regex' is not a number rule"));
}

}  // namespace
}  // namespace merganser

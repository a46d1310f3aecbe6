#include <cmath>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/text_metrics.h"
#include "worker/benchmark/wilson.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

double Score(const MetricSpec& spec, const std::string& completion, const std::string& reference) {
  const auto metric = TextMetric::Create(spec);
  EXPECT_TRUE(metric.ok()) << metric.status();
  return metric.ok() ? metric->Score(completion, reference).value() : -1;
}

TEST(TextMetric, ExactMatchIgnoresWhatItIsTold) {
  MetricSpec exact{"exact_match"};
  EXPECT_EQ(Score(exact, "1,000", "1000"), 0);
  exact.regexes_to_ignore = {",", R"(\$)", R"((?s).*#### )", R"(\.$)"};
  EXPECT_EQ(Score(exact, "$1,000.", "step 1\n#### 1000"), 1);
  MetricSpec loose{"exact_match"};
  loose.ignore_case = loose.ignore_punctuation = loose.ignore_numbers = true;
  EXPECT_EQ(Score(loose, "It's ÄB-1.", "its äb"), 1);
  EXPECT_EQ(Score(loose, "東京。", "東京"), 0);  // only ASCII punctuation, as in the harness
}

// The right sides: rouge_score 0.1.2 without stemming, and with a tokenizer of single characters.
TEST(TextMetric, RougeIsRougeScores) {
  const std::string reference = "The cat sat on the mat.", completion = "the cat is on a mat, the CAT";
  EXPECT_NEAR(Score({"rouge1"}, completion, reference), 0.7142857143, 1e-9);
  EXPECT_NEAR(Score({"rouge2"}, completion, reference), 0.1666666667, 1e-9);
  EXPECT_NEAR(Score({"rougeL"}, completion, reference), 0.5714285714, 1e-9);
  const std::string ja = "青信号の色は青です。", guess = "信号機の色は 青色です。";
  EXPECT_NEAR(Score({.name = "rouge1", .unit = "characters"}, guess, ja), 0.8571428571, 1e-9);
  EXPECT_NEAR(Score({.name = "rouge2", .unit = "characters"}, guess, ja), 0.6315789474, 1e-9);
  EXPECT_NEAR(Score({.name = "rougeL", .unit = "characters"}, guess, ja), 0.8571428571, 1e-9);
  EXPECT_EQ(Score({"rougeL"}, "日本", "日本"), 0);  // words of a-z and 0-9: there are none
}

TEST(TextMetric, F1IsSquads) {
  // Words are {cat, sat} against {cat, sat, down}: precision 1, recall 2/3.
  EXPECT_NEAR(Score({"f1"}, "The cat sat.", "A cat, sat down"), 0.8, 1e-12);
  EXPECT_EQ(Score({"f1"}, "", "x"), 0);
  // Characters 東京都 against 東京: 2 in common, precision 2/3, recall 1.
  EXPECT_NEAR(Score({.name = "f1", .unit = "characters"}, "東京都", "東京"), 0.8, 1e-12);
}

TEST(TextMetric, TheBestReferenceCounts) {
  EXPECT_EQ(TextMetric::Create({"exact_match"})->Best("b", {"a", "b"}).value(), 1);
  EXPECT_EQ(TextMetric::Create({"exact_match"})->Best("b", {}).value(), 0);
}

TEST(TextMetric, UnknownNamesAndUnitsAreRefused) {
  ExpectError(TextMetric::Create({"rougel"}), StatusCode::kInvalidArgument, HasSubstr("did you mean 'rouge1'"));
  ExpectError(TextMetric::Create({.name = "f1", .unit = "syllables"}), StatusCode::kInvalidArgument,
              HasSubstr("unit 'syllables' is none of words, characters, mecab, tokens"));
  ExpectError(TextMetric::Create({.name = "exact_match", .unit = "words"}), StatusCode::kInvalidArgument,
              HasSubstr("unit 'words' is none of neologdn"));
  ExpectError(TextMetric::Create({.name = "f1", .regexes_to_ignore = {"("}}), StatusCode::kInvalidArgument,
              HasSubstr("regexes_to_ignore: pattern '('"));
}

std::vector<SampleOutcome> Outcomes(const std::vector<std::map<std::string, double>>& values) {
  std::vector<SampleOutcome> outcomes;
  for (const auto& v : values) {
    outcomes.emplace_back();
    outcomes.back().values = v;
  }
  return outcomes;
}

// The right sides: scikit-learn on the same ten items.
TEST(Aggregate, ClassMetricsAreScikitLearns) {
  const int gold[] = {0, 1, 2, 0, 1, 2, 0, 0, 1, 2}, pred[] = {0, 1, 1, 0, 2, 2, 1, 0, 1, 2};
  std::vector<std::map<std::string, double>> values;
  for (int i = 0; i < 10; ++i) values.push_back({{"gold", gold[i]}, {"pred", pred[i]}});
  const auto outcomes = Outcomes(values);
  EXPECT_NEAR(Estimate({"mcc", Aggregation::kMcc}, outcomes).value, 0.5606060606060606, 1e-12);
  EXPECT_NEAR(Estimate({"macro_f1", Aggregation::kMacroF1}, outcomes).value, 0.6984126984126983, 1e-12);
  EXPECT_NEAR(Estimate({"balanced_acc", Aggregation::kBalancedAcc}, outcomes).value, 0.6944444444444443, 1e-12);
  const MetricEstimate a = Estimate({"mcc", Aggregation::kMcc}, outcomes),
                       b = Estimate({"mcc", Aggregation::kMcc}, outcomes);
  EXPECT_EQ(a.standard_error, b.standard_error);
  EXPECT_GT(a.standard_error, 0.1);
  EXPECT_LT(a.standard_error, 0.4);
}

TEST(Aggregate, ConstantPredictionsHaveNoCorrelation) {
  const auto outcomes = Outcomes({{{"gold", 0}, {"pred", 0}}, {{"gold", 1}, {"pred", 0}}});
  EXPECT_EQ(Estimate({"mcc", Aggregation::kMcc}, outcomes).value, 0);
  EXPECT_EQ(Estimate({"balanced_acc", Aggregation::kBalancedAcc}, outcomes).value, 0.5);
}

TEST(Aggregate, PerplexitiesWeighTheirSamples) {
  const auto outcomes =
      Outcomes({{{"log_likelihood", -2}, {"bytes", 4}, {"words", 1}}, {{"log_likelihood", -4}, {"bytes", 2}, {"words", 2}}});
  EXPECT_NEAR(Estimate({"perplexity", Aggregation::kPerplexity}, outcomes).value, std::exp(3), 1e-12);
  EXPECT_NEAR(Estimate({"byte_perplexity", Aggregation::kBytePerplexity}, outcomes).value, std::exp(1), 1e-12);
  EXPECT_NEAR(Estimate({"bits_per_byte", Aggregation::kBitsPerByte}, outcomes).value, 1 / std::log(2.0), 1e-12);
  EXPECT_NEAR(Estimate({"word_perplexity", Aggregation::kWordPerplexity}, outcomes).value, std::exp(2), 1e-12);
}

TEST(Aggregate, OnlyWhatIsNoProportionCarriesItsError) {
  const auto outcomes = Outcomes({{{"acc", 1}, {"f1", 0.5}}, {{"acc", 0}, {"f1", 1}}, {{"acc", 1}, {"f1", 0}}});
  const std::vector<MetricKey> keys = {{"acc"}, {"f1"}};
  const auto metrics = Metrics(keys, outcomes);
  EXPECT_EQ(metrics.count("acc_stderr"), 0u);
  EXPECT_NEAR(metrics.at("f1"), 0.5, 1e-12);
  EXPECT_NEAR(metrics.at("f1_stderr"), 0.5 / std::sqrt(3.0), 1e-12);  // deviations 0, 0.5, -0.5
  const MetricInterval f1 = IntervalOf(metrics, "f1", 3);
  EXPECT_NEAR(f1.high - f1.low, 2 * 1.959963984540054 * f1.standard_error, 1e-12);
  const MetricInterval acc = IntervalOf(metrics, "acc", 3);
  EXPECT_NEAR(acc.low, WilsonInterval(2, 3).low, 1e-12);
  // A mean's error, as for any other: the samples' deviation over the root of n.
  EXPECT_NEAR(acc.standard_error, Estimate({"acc"}, outcomes).standard_error, 1e-12);
}

}  // namespace
}  // namespace merganser

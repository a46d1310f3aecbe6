// Golden values: tests/golden/paired_goldens.py (scipy, statsmodels, numpy).
#include "worker/benchmark/comparison.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/worker/benchmark/test_files.h"

namespace merganser {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const json& PairedGoldens() {
  static const json* const goldens = [] {
    std::ifstream file(SourcePath("tests/worker/benchmark/testdata/paired.json"));
    return new json(json::parse(file));
  }();
  return *goldens;
}

BenchmarkResult ResultOf(const std::string& metric, const std::vector<double>& values, std::vector<double> members = {}) {
  BenchmarkResult result;
  result.benchmark = "b";
  for (size_t i = 0; i < values.size(); ++i) {
    SampleOutcome sample;
    sample.question = absl::StrCat("q", i);
    sample.values[metric] = values[i];
    if (!members.empty()) sample.values["member"] = members[i];
    result.samples.push_back(sample);
  }
  return result;
}

ResolvedBenchmark Plain(const std::string& metric) {
  BenchmarkDefinition definition;
  definition.name = "b";
  definition.filters = {{}};
  definition.metrics = {{metric}};
  return {definition, {definition}};
}

TEST(PairedStatistics, McNemarIsTheExactBinomialTest) {
  for (const json& golden : PairedGoldens()["mcnemar"]) {
    const double p = golden["p"];
    EXPECT_NEAR(McNemarExact(golden["only_a"], golden["only_b"]), p, 1e-9 * p) << golden;
    EXPECT_EQ(McNemarExact(golden["only_a"], golden["only_b"]), McNemarExact(golden["only_b"], golden["only_a"])) << golden;
  }
}

TEST(PairedStatistics, HolmStepsDownAndKeepsTheOrder) {
  for (const json& golden : PairedGoldens()["holm"]) {
    const std::vector<double> adjusted = HolmAdjusted(golden["p"]), expected = golden["adjusted"];
    ASSERT_EQ(adjusted.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-12) << golden;
  }
}

TEST(Comparison, MeansAreComparedByThePairedBootstrap) {
  const json golden = PairedGoldens()["mean"];
  const BenchmarkResult a = ResultOf("f1", golden["a"]), b = ResultOf("f1", golden["b"]);
  const auto pairs = Compare(Plain("f1"), {&a, &b}, golden["seed"]);
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  ASSERT_EQ(pairs->size(), 1u);
  const PairedDifference& pair = pairs->front();
  EXPECT_EQ(pair.metric, "f1");
  EXPECT_FALSE(pair.mcnemar);
  EXPECT_FALSE(pair.p_holm.has_value());
  EXPECT_NEAR(pair.difference, golden["difference"], 1e-12);
  EXPECT_NEAR(pair.low, golden["low"], 1e-12);
  EXPECT_NEAR(pair.high, golden["high"], 1e-12);
  EXPECT_NEAR(pair.p, golden["p"], 1e-12);
  EXPECT_NE(Compare(Plain("f1"), {&a, &b}, 43)->front().low, pair.low);
}

TEST(Comparison, SharesAreComparedByMcNemarWithTheBootstrapsInterval) {
  const json golden = PairedGoldens()["share"];
  const BenchmarkResult a = ResultOf("exact_match", golden["a"]), b = ResultOf("exact_match", golden["b"]);
  const PairedDifference pair = Compare(Plain("exact_match"), {&a, &b}, golden["seed"])->front();
  EXPECT_TRUE(pair.mcnemar);
  EXPECT_NEAR(pair.difference, golden["difference"], 1e-12);
  EXPECT_NEAR(pair.low, golden["low"], 1e-12);
  EXPECT_NEAR(pair.high, golden["high"], 1e-12);
  EXPECT_NEAR(pair.p, golden["p"], 1e-12);
}

TEST(Comparison, CompletionsOfOneProblemAreNoSamplesForMcNemar) {
  BenchmarkResult a = ResultOf("exact_match", std::vector<double>(40, 1)),
                  b = ResultOf("exact_match", std::vector<double>(40, 0));
  for (int i = 0; i < 40; ++i) a.samples[i].values["problem"] = b.samples[i].values["problem"] = i / 10;
  EXPECT_FALSE(Compare(Plain("exact_match"), {&a, &b}, 1)->front().mcnemar);
}

TEST(Comparison, AnAveragesMembersAreDrawnFromOneByOneAndCountAlike) {
  const json all = PairedGoldens();
  const json golden = all["average"];
  ResolvedBenchmark average = Plain("f1");
  average.definition.average_of = {"x", "y"};
  average.parts = {average.parts[0], average.parts[0]};
  average.parts[0].name = "x";
  average.parts[1].name = "y";
  std::vector<double> members(60, 1);
  std::fill_n(members.begin(), 20, 0);
  const BenchmarkResult a = ResultOf("f1", all["mean"]["a"], members), b = ResultOf("f1", all["mean"]["b"], members);
  const auto pairs = Compare(average, {&a, &b}, 42);
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  ASSERT_EQ(pairs->size(), 3u);
  EXPECT_EQ((*pairs)[0].metric, "x.f1");
  EXPECT_EQ((*pairs)[1].metric, "y.f1");
  const PairedDifference& pair = (*pairs)[2];
  EXPECT_EQ(pair.metric, "average");
  EXPECT_NEAR(pair.difference, golden["difference"], 1e-12);
  EXPECT_NEAR(pair.low, golden["low"], 1e-12);
  EXPECT_NEAR(pair.high, golden["high"], 1e-12);
  EXPECT_NEAR(pair.p, golden["p"], 1e-12);
}

TEST(Comparison, MetricsOfAllSamplesAtOnceAreResampledWhole) {
  ResolvedBenchmark benchmark = Plain("balanced_acc");
  benchmark.definition.output = BenchmarkOutput::kMultipleChoice;
  BenchmarkResult a = ResultOf("acc", std::vector<double>(40, 1)), b = a;
  for (int i = 0; i < 40; ++i) {
    a.samples[i].values["gold"] = b.samples[i].values["gold"] = i % 4 == 0;
    a.samples[i].values["pred"] = i % 4 == 0;
    b.samples[i].values["pred"] = 0;  // right three times of four, never on the rarer class
  }
  const PairedDifference pair = Compare(benchmark, {&a, &b}, 1)->front();
  EXPECT_EQ(pair.metric, "balanced_acc");
  EXPECT_FALSE(pair.mcnemar);
  EXPECT_DOUBLE_EQ(pair.difference, 0.5);
  EXPECT_LT(pair.p, 0.001);
}

TEST(Comparison, WithMoreThanTwoModelsPValuesAreAlsoAdjusted) {
  const json golden = PairedGoldens()["mean"];
  const BenchmarkResult a = ResultOf("f1", golden["a"]), b = ResultOf("f1", golden["b"]);
  const auto pairs = Compare(Plain("f1"), {&a, &b, &a}, 42);
  ASSERT_EQ(pairs->size(), 3u);
  std::vector<double> p, holm;
  for (const PairedDifference& pair : *pairs) {
    p.push_back(pair.p);
    holm.push_back(*pair.p_holm);
  }
  EXPECT_EQ(holm, HolmAdjusted(p));
  // A model against itself.
  EXPECT_EQ((*pairs)[1].first, 0);
  EXPECT_EQ((*pairs)[1].second, 2);
  EXPECT_EQ((*pairs)[1].difference, 0);
  EXPECT_EQ((*pairs)[1].low, 0);
  EXPECT_EQ((*pairs)[1].p, 1);
}

TEST(Comparison, OtherSamplesAreRefused) {
  const BenchmarkResult a = ResultOf("f1", {1, 0, 1}), shorter = ResultOf("f1", {1, 0});
  BenchmarkResult other = a;
  other.samples[2].question = "another";
  for (const BenchmarkResult* b : {&shorter, static_cast<const BenchmarkResult*>(&other)}) {
    ExpectError(Compare(Plain("f1"), {&a, b}, 0), absl::StatusCode::kInvalidArgument,
                HasSubstr("benchmark 'b': models did not answer the same samples"));
  }
  ExpectError(Compare(Plain("f1"), {&a}, 0), absl::StatusCode::kInvalidArgument, HasSubstr("two models"));
}

}  // namespace
}  // namespace merganser

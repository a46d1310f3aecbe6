#include "worker/benchmark/results_json.h"

#include <nlohmann/json.hpp>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/completions.h"
#include "worker/benchmark/score_command.h"
#include "worker/benchmark/wilson.h"

namespace merganser {
namespace {

using absl::StatusCode;
using nlohmann::json;
using testing::HasSubstr;

BenchmarkDefinition Mgsm() {
  BenchmarkSpec spec;
  spec.name = "mgsm";
  spec.use = "mgsm_ja";
  return *ResolveBenchmark(spec);
}

TEST(ScoreCompletions, ResultsHaveTheContractsShapeAndCarryOtherFields) {
  const std::string path = WriteTestFile("out.jsonl",
                                         "{\"completion\":\"答えは18です。\",\"answer\":18,\"question\":\"q\",\"id\":{"
                                         "\"n\":[1]},\"correct\":\"theirs\"}\n"
                                         "{\"completion\":\"わかりません。\",\"answer\":\"5,600\"}\n");
  const auto scored = ScoreCompletions(Mgsm(), path, {LanguageModelPath()});
  ASSERT_TRUE(scored.ok()) << scored.status();
  const std::string text = ResultsJson({*scored});
  const json report = json::parse(text);
  EXPECT_EQ(report["mgsm"]["metrics"], (json{{"acc", 0.5}, {"acc_ja", 0.5}}));
  ASSERT_EQ(report["mgsm"]["results"].size(), 2u);
  const json& first = report["mgsm"]["results"][0];
  EXPECT_EQ(first["question"], "q");
  EXPECT_EQ(first["prediction"], 18.0);
  EXPECT_EQ(first["answer"], 18);
  EXPECT_EQ(first["correct"], true);
  EXPECT_EQ(first["completion"], "答えは18です。");
  EXPECT_EQ(first["id"], (json{{"n", {1}}}));
  EXPECT_EQ(first["values"]["acc_ja"], 1);
  const json& second = report["mgsm"]["results"][1];
  EXPECT_TRUE(second["prediction"].is_null());
  EXPECT_EQ(second["answer"], 5600);
  EXPECT_EQ(second["correct"], false);
  EXPECT_THAT(text, HasSubstr("答えは18です。"));
  EXPECT_EQ(text.back(), '\n');
}

TEST(ScoreCompletions, VotesNeedToKnowWhichCompletionsAreOfOnePrompt) {
  BenchmarkDefinition definition = Mgsm();
  definition.completions = 5;
  const std::string path = WriteTestFile("out.jsonl", "{\"completion\":\"答えは18です。\",\"answer\":18}\n");
  ExpectError(ScoreCompletions(definition, path, {LanguageModelPath()}), absl::StatusCode::kInvalidArgument,
              HasSubstr("completions 5: stored completions do not say which are of one prompt"));
  definition.completions = 1;
  EXPECT_TRUE(ScoreCompletions(definition, path, {LanguageModelPath()}).ok());
}

TEST(ScoreCompletions, LimitTakesTheFirst) {
  BenchmarkDefinition definition = Mgsm();
  definition.limit = 1;
  const std::string path =
      WriteTestFile("out.jsonl", "{\"completion\":\"答えは18です。\",\"answer\":18}\n{\"completion\":\"\",\"answer\":1}\n");
  const auto scored = ScoreCompletions(definition, path, {LanguageModelPath()});
  ASSERT_TRUE(scored.ok()) << scored.status();
  EXPECT_EQ(scored->result.samples.size(), 1u);
  EXPECT_EQ(scored->result.metrics.at("acc_ja"), 1);
}

TEST(ResultsJson, SeveralBenchmarksAndBrokenBytesStayValidJson) {
  BenchmarkResult a, b;
  a.benchmark = "z";
  a.metrics = {{"acc", 1}};
  a.samples.resize(1);
  a.samples[0].completion = "cut \xE3\x81";
  a.samples[0].prediction = "Infinity";
  a.samples[0].answer = "0.5";
  b.benchmark = "a";
  const json report = json::parse(ResultsJson({a, b}));
  EXPECT_EQ(report.size(), 2u);
  EXPECT_EQ(report["z"]["results"][0]["prediction"], "Infinity");
  EXPECT_EQ(report["z"]["results"][0]["answer"], 0.5);
  EXPECT_EQ(report["a"]["results"], json::array());
}

TEST(ResultsJson, AnAveragesMembersHaveIntervalsOfTheirOwnSamples) {
  BenchmarkResult both;
  both.benchmark = "both";
  both.metrics = {{"average", 0.75},   {"average_stderr", 0.25}, {"a.acc", 1},
                  {"a.acc_stderr", 0}, {"b.acc", 0.5},           {"b.acc_stderr", 0.5}};
  both.samples.resize(4);
  for (int i = 0; i < 4; ++i) both.samples[i].values = {{"member", i / 2}, {"acc", i == 3 ? 0 : 1}};
  both.samples[0].values["a.acc"] = both.samples[2].values["b.acc"] = 1;
  const json intervals = json::parse(ResultsJson({both}))["both"]["intervals"];
  EXPECT_EQ(intervals["average"]["n"], 4);
  EXPECT_EQ(intervals["b.acc"]["n"], 2);
  EXPECT_NEAR(intervals["b.acc"]["stderr"], 0.5, 1e-12);
  // Two of two right are no certainty: Wilson's interval, as where the member stands by itself.
  EXPECT_EQ(intervals["a.acc"]["stderr"], 0);
  EXPECT_NEAR(intervals["a.acc"]["low"], WilsonInterval(2, 2).low, 1e-12);
  EXPECT_EQ(intervals["a.acc"]["high"], 1);
}

TEST(ResultsJson, OneSampleHasAnIntervalOnlyWhereItIsAShare) {
  BenchmarkResult one;
  one.benchmark = "one";
  one.metrics = {{"acc", 1}, {"f1", 0.4}, {"f1_stderr", 0}};
  one.samples.resize(1);
  const json intervals = json::parse(ResultsJson({one}))["one"]["intervals"];
  EXPECT_NEAR(intervals["acc"]["low"], WilsonInterval(1, 1).low, 1e-12);
  EXPECT_FALSE(intervals.contains("f1"));
}

struct BadLine {
  const char* name;
  const char* line;
  const char* message;
};

class BadCompletionsTest : public testing::TestWithParam<BadLine> {};

TEST_P(BadCompletionsTest, NamesFileLineAndField) {
  const std::string path =
      WriteTestFile("out.jsonl", absl::StrCat("{\"completion\":\"1\",\"answer\":1}\n\n", GetParam().line, "\n"));
  ExpectError(ReadCompletions(path), StatusCode::kInvalidArgument, HasSubstr(absl::StrCat(path, GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(Completions, BadCompletionsTest,
                         testing::Values(BadLine{"NoCompletion", "{\"answer\":1}", ":3: field 'completion' is missing"},
                                         BadLine{"CompletionIsNull", "{\"completion\":null,\"answer\":1}",
                                                 ":3: field 'completion' is of type null, not a string"},
                                         BadLine{"NoAnswer", "{\"completion\":\"\"}", ":3: field 'answer' is missing"},
                                         BadLine{"AnswerIsTrue", "{\"completion\":\"\",\"answer\":true}",
                                                 ":3: field 'answer' is of type boolean, not a number"},
                                         BadLine{"QuestionIsNumber", "{\"completion\":\"\",\"answer\":1,\"question\":2}",
                                                 ":3: field 'question' is of type number, not a string"},
                                         BadLine{"BrokenJson", "{\"completion\":\"", ":3:16: broken JSON"}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Completions, MissingFileIsNotFound) {
  ExpectError(ScoreCompletions(Mgsm(), TestFolder() + "/none.jsonl", {LanguageModelPath()}), StatusCode::kNotFound,
              HasSubstr("none.jsonl"));
}

}  // namespace
}  // namespace merganser

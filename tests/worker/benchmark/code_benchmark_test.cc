// Completions that are programs: HumanEval's and MBPP's form, on problems of our own.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/benchmark.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/score_command.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// HumanEval's fields.
constexpr char kProblems[] =
    R"({"task_id": "T/0", "prompt": "def one():\n", "entry_point": "one", "test": "def check(f):\n    assert f() == 1\n"}
{"task_id": "T/1", "prompt": "def twice(x):\n", "entry_point": "twice", "test": "def check(f):\n    assert f(2) == 4\n"}
{"task_id": "T/2", "prompt": "def word():\n", "entry_point": "word", "test": "def check(f):\n    assert f() == 'ja'\n"}
)";

BenchmarkSettings Settings(const std::string& use, const std::string& data) {
  BenchmarkSettings settings;
  settings.name = "code";
  settings.use = use;
  settings.data = data;
  return settings;
}

absl::StatusOr<std::unique_ptr<Benchmark>> LoadCode(const BenchmarkSettings& settings, bool allowed = true) {
  auto definition = ResolveBenchmark(settings);
  if (!definition.ok()) return definition.status();
  ScorerOptions options;
  options.allow_commands = allowed;
  return Benchmark::Load(*definition, options);
}

std::vector<bool> Passed(const BenchmarkResult& result) {
  std::vector<bool> passed;
  for (const SampleOutcome& sample : result.samples) passed.push_back(sample.correct);
  return passed;
}

TEST(CodeBenchmark, RunsEachCompletionWithItsTest) {
  const auto benchmark = LoadCode(Settings("humaneval", WriteTestFile("HumanEval.jsonl", kProblems)));
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  EXPECT_THAT((*benchmark)->prompts(), ElementsAre("def one():\n", "def twice(x):\n", "def word():\n"));
  const auto result = (*benchmark)->Score(std::vector<std::string>{"    return 1\n", "    return x + 1", "    return 'ja'"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Passed(*result), ElementsAre(true, false, true));
  EXPECT_DOUBLE_EQ(result->metrics.at("pass@1"), 2.0 / 3);
  EXPECT_EQ(result->metrics.count("pass@1_stderr"), 0u);  // a proportion
  EXPECT_EQ(result->samples[1].question, "T/1");
}

TEST(CodeBenchmark, WhatLoopsForksOrWritesElsewhereFailsAndTheOthersStand) {
  BenchmarkSettings settings = Settings("humaneval", WriteTestFile("HumanEval.jsonl", kProblems));
  settings.code = ResolveBenchmark(settings)->code;
  settings.code->timeout = 2;
  const auto benchmark = LoadCode(settings);
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  const std::string outside = TestFolder() + "/written";
  const auto result = (*benchmark)
                          ->Score(std::vector<std::string>{
                              "    while True: pass\n",
                              "    import os\n    while os.fork() >= 0: pass\n    return 2 * x\n",
                              absl::StrCat("    open('", outside, "', 'w').write('x')\n    return 'ja'\n"),
                          });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Passed(*result), ElementsAre(false, false, false));
  EXPECT_FALSE(std::filesystem::exists(outside));
  EXPECT_EQ((*benchmark)->Score(std::vector<std::string>(3, "    return 1\n"))->metrics.at("pass@1"), 1.0 / 3);
}

TEST(CodeBenchmark, IsOffUnlessTheOperatorAllowsIt) {
  const std::string data = WriteTestFile("HumanEval.jsonl", kProblems);
  ExpectError(LoadCode(Settings("humaneval", data), /*allowed=*/false), StatusCode::kPermissionDenied,
              AllOf(HasSubstr("benchmark 'code'"), HasSubstr("--allow-commands")));
  ExpectError(ScoreCompletions(*ResolveBenchmark(Settings("humaneval", data)),
                               WriteTestFile("c.jsonl", R"({"task_id": "T/1", "completion": "    return 2 * x"})")),
              StatusCode::kPermissionDenied, HasSubstr("--allow-commands"));
}

// A file of stored completions, scored where commands are allowed.
absl::StatusOr<ScoredCompletions> ScoreStored(const BenchmarkSettings& settings, const std::string& lines) {
  auto definition = ResolveBenchmark(settings);
  if (!definition.ok()) return definition.status();
  ScorerOptions options;
  options.allow_commands = true;
  return ScoreCompletions(*definition, WriteTestFile("stored.jsonl", lines), options);
}

TEST(CodeBenchmark, StoredCompletionsAreRunWithTheTestsOfTheirTask) {
  const BenchmarkSettings settings = Settings("humaneval", WriteTestFile("HumanEval.jsonl", kProblems));
  // In any order, of some problems only, human-eval's form.
  const auto scored = ScoreStored(settings, R"({"task_id": "T/2", "completion": "    return 'ja'", "model": "m"}
{"task_id": "T/0", "completion": "    return 2"}
)");
  ASSERT_TRUE(scored.ok()) << scored.status();
  EXPECT_THAT(Passed(scored->result), ElementsAre(true, false));
  EXPECT_EQ(scored->result.samples[0].question, "T/2");
  EXPECT_EQ(scored->result.metrics.at("pass@1"), 0.5);
  EXPECT_THAT(scored->extra_fields[0], HasSubstr(R"("model":"m")"));
}

TEST(CodeBenchmark, SeveralStoredCompletionsOfAProblemArePassAtK) {
  const std::string lines = R"({"task_id": "T/0", "completion": "    return 1"}
{"task_id": "T/0", "completion": "    return 2"}
{"task_id": "T/1", "completion": "    return x"}
{"task_id": "T/1", "completion": "    return x"}
)";
  BenchmarkSettings settings = Settings("humaneval", WriteTestFile("HumanEval.jsonl", kProblems));
  settings.completions = 2;
  settings.sampling = BenchmarkSampling{.temperature = 0.8};
  settings.metrics = {{"pass@1"}, {"pass@2"}};
  const auto scored = ScoreStored(settings, lines);
  ASSERT_TRUE(scored.ok()) << scored.status();
  EXPECT_EQ(scored->result.metrics.at("pass@1"), 0.25);
  EXPECT_EQ(scored->result.metrics.at("pass@2"), 0.5);
  ExpectError(ScoreStored(settings, lines + R"({"task_id": "T/2", "completion": "    return 1"})"),
              StatusCode::kInvalidArgument, HasSubstr("pass@2 needs 2 completions of each problem; that of line 3 has 1"));
}

TEST(CodeBenchmark, WithoutDataStoredCompletionsBringTheirTests) {
  BenchmarkSettings settings = Settings("humaneval", "");
  const auto scored = ScoreStored(
      settings,
      R"({"prompt": "def one():\n", "completion": "    return 1", "entry_point": "one", "test": "def check(f):\n    assert f() == 1"}
)");
  ASSERT_TRUE(scored.ok()) << scored.status();
  EXPECT_THAT(Passed(scored->result), ElementsAre(true));
  ExpectError(ScoreStored(settings, R"({"completion": "    return 1"})"), StatusCode::kInvalidArgument, HasSubstr("prompt"));
}

TEST(CodeBenchmark, StoredCompletionsOfNoProblemAreNamed) {
  const BenchmarkSettings settings = Settings("humaneval", WriteTestFile("HumanEval.jsonl", kProblems));
  ExpectError(ScoreStored(settings, R"({"task_id": "T/9", "completion": ""})"), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("stored.jsonl:1: field 'task_id'"), HasSubstr("HumanEval.jsonl has no \"T/9\"")));
  ExpectError(ScoreStored(settings, R"({"completion": ""})"), StatusCode::kInvalidArgument,
              HasSubstr("stored.jsonl:1: field 'task_id' is missing"));
  ExpectError(ScoreStored(settings, R"({"task_id": "T/1"})"), StatusCode::kInvalidArgument,
              HasSubstr("stored.jsonl:1: field 'completion' is missing"));
}

TEST(CodeBenchmark, MbppHasItsThreeExamplesAndItsTestSet) {
  std::string rows;
  for (int task = 1; task <= 12; ++task) {
    absl::StrAppend(&rows, R"({"task_id": )", task, R"(, "text": "Write f )", task, R"(.", "code": "def f(x): return )",
                    task, R"(", "test_setup_code": "y = )", task,
                    R"(", "test_list": ["assert f(0) == y", "assert f(1) == y", "assert f(2) == y"]})", "\n");
  }
  const auto benchmark = LoadCode(Settings("mbpp", WriteTestFile("mbpp.jsonl", rows)));
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  ASSERT_EQ((*benchmark)->prompts().size(), 2u);  // tasks 11 and 12
  EXPECT_THAT(
      (*benchmark)->prompts()[0],
      AllOf(StartsWith(
                "You are an expert Python programmer, and here is your task: Write a function to find the similar elements"),
            HasSubstr("[BEGIN]\ndef similar_elements"), HasSubstr("[DONE]\n\nYou are an expert"),
            HasSubstr("heap queue algorithm"),
            EndsWith("[DONE]\n\nYou are an expert Python programmer, and here is your task: Write f 11. Your code should "
                     "pass these "
                     "tests:\n\nassert f(0) == y\nassert f(1) == y\nassert f(2) == y\n[BEGIN]\n")));
  const auto result = (*benchmark)->Score(std::vector<std::string>{"def f(x):\n  return 11\n", "def f(x):\r\n\treturn x"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Passed(*result), ElementsAre(true, false));
}

TEST(CodeBenchmark, PassAtKIsTheUnbiasedEstimate) {
  BenchmarkSettings settings = Settings("humaneval", WriteTestFile("HumanEval.jsonl", kProblems));
  settings.completions = 4;
  settings.sampling = BenchmarkSampling{.temperature = 0.8};
  settings.metrics = {{"pass@1"}, {"pass@2"}};
  const auto benchmark = LoadCode(settings);
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  ASSERT_EQ((*benchmark)->prompts().size(), 12u);
  EXPECT_EQ((*benchmark)->prompts()[3], "def one():\n");
  EXPECT_EQ((*benchmark)->prompts()[4], "def twice(x):\n");
  // 1, 0 and 3 of 4 pass.
  const std::string wrong = "    return 0\n", one = "    return 1\n", word = "    return 'ja'\n";
  const auto result =
      (*benchmark)
          ->Score(std::vector<std::string>{wrong, one, wrong, wrong, wrong, wrong, wrong, wrong, word, word, wrong, word});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->metrics.at("pass@1"), (0.25 + 0 + 0.75) / 3);
  // 1 - C(3,2)/C(4,2) = 1/2; 0; 1 - C(1,2)/C(4,2) = 1.
  EXPECT_DOUBLE_EQ(result->metrics.at("pass@2"), (0.5 + 0 + 1) / 3);
  EXPECT_NEAR(result->metrics.at("pass@2_stderr"), 0.5 / std::sqrt(3.0), 1e-12);  // over problems, not completions
}

// The data is not in the tree: MERGANSER_CODE_DATA names a folder with HumanEval.jsonl and mbpp.jsonl.
TEST(CodeBenchmark, TheDataSetsOwnSolutionsPass) {
  const char* const folder = std::getenv("MERGANSER_CODE_DATA");
  if (folder == nullptr) GTEST_SKIP() << "MERGANSER_CODE_DATA is not set";
  for (const auto& [name, field, count] :
       {std::tuple("humaneval", "canonical_solution", 164u), std::tuple("mbpp", "code", 500u)}) {
    const auto benchmark = LoadCode(Settings(name, folder));
    ASSERT_TRUE(benchmark.ok()) << benchmark.status();
    std::vector<std::string> solutions;
    for (const Sample& sample : (*benchmark)->samples()) {
      solutions.push_back(nlohmann::json::parse(sample.fields_json)[field].get<std::string>());
    }
    ASSERT_EQ(solutions.size(), count);
    const auto result = (*benchmark)->Score(solutions);
    ASSERT_TRUE(result.ok()) << result.status();
    for (size_t i = 0; i < count; ++i)
      EXPECT_TRUE(result->samples[i].correct) << name << " " << i << ": " << result->samples[i].question;
  }
}

TEST(CodeBenchmark, MistakesNameTheField) {
  const std::string data = WriteTestFile("HumanEval.jsonl", kProblems);
  const auto message = [&](const auto& change) {
    BenchmarkSettings settings = Settings("humaneval", data);
    change(settings);
    return std::string(ResolveBenchmark(settings).status().message());
  };
  EXPECT_THAT(message([](auto& s) { s.metrics = {{"pass@5"}}; }),
              HasSubstr("metrics: pass@5 needs completions: 5 or more; there are 1"));
  EXPECT_THAT(message([](auto& s) { s.metrics = {{"exact_match"}}; }), HasSubstr("metrics: 'exact_match': code has pass@1"));
  EXPECT_THAT(message([](auto& s) { s.completions = 2; }), HasSubstr("completions: they would all be the same"));
  EXPECT_THAT(message([](auto& s) { s.completions = 0; }), HasSubstr("completions 0 is not in [1, 1000]"));
  EXPECT_THAT(message([](auto& s) { s.code = CodeSettings{.program = "x", .timeout = 0}; }), HasSubstr("code.timeout"));
  EXPECT_THAT(message([](auto& s) { s.code = CodeSettings{.program = "x", .memory_mib = 1}; }), HasSubstr("code.memory"));
  EXPECT_THAT(message([](auto& s) { s.skip = -1; }), HasSubstr("skip -1 is below 0"));
  BenchmarkSettings far = Settings("humaneval", data);
  far.skip = 3;
  ExpectError(LoadCode(far), StatusCode::kInvalidArgument, HasSubstr("skip 3 leaves none of its 3 samples"));
}

}  // namespace
}  // namespace merganser

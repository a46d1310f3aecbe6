#include "client/sample_prompt.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/record.pb.h"
#include "tests/client/jobs_for_tests.h"

namespace merganser {
namespace {

TEST(ShellWordTest, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(ShellWord("3+4 is $x"), "'3+4 is $x'");
  EXPECT_EQ(ShellWord("Q: \u5375\nA:\n"), "$'Q: \u5375\\nA:\\n'");
  EXPECT_EQ(ShellWord("it's a \\ and a \t"), "$'it\\'s a \\\\ and a \\011'");
}

// A finished job whose winner's held-out record has `samples`: prompt, whether it was answered rightly.
std::string PromptOf(const std::vector<std::pair<std::string, bool>>& samples,
                     const std::string& architecture = "MistralForCausalLM",
                     const std::string& prompt = "Q: {{question}}\nA:") {
  FinishedJob finished = SmallFinishedJob();
  BenchmarkSpec train, test;
  train.name = "sums";
  if (!prompt.empty()) train.prompt = prompt;
  test.name = "sums_test";
  test.use = "sums";
  finished.job.spec.benchmarks = {train};
  finished.job.spec.held_out = {test};
  JobFacts facts;
  facts.architecture = architecture;
  finished.job.facts = facts;
  finished.candidates.back().record_key = "result:winner";
  v1::ResultRecord record;
  v1::BenchmarkResult* const result = record.mutable_evaluation()->add_results();
  result->set_benchmark("sums_test");
  for (const auto& [question, correct] : samples) {
    v1::SampleOutcome* const sample = result->add_samples();
    sample->set_question(question);
    sample->set_correct(correct);
  }
  return SamplePrompt(finished.job, finished.candidates, [&](const std::string& key) -> absl::StatusOr<std::string> {
    if (key != "result:winner") return absl::NotFoundError(key);
    return record.SerializeAsString();
  });
}

TEST(SamplePromptTest, IsTheFirstThatTheWinnerAnsweredRightly) {
  EXPECT_EQ(PromptOf({{"1+1?", false}, {"2+2?", true}, {"3+3?", true}}), "$'Q: 2+2?\\nA:'");
}

TEST(SamplePromptTest, IsNoneWhereTheJobFileDoesNotSayWhatTheModelWasGiven) {
  EXPECT_EQ(PromptOf({{"2+2?", true}}, "MistralForCausalLM", ""), "...") << "a built-in's own template";
  EXPECT_EQ(PromptOf({{"2+2?", true}}, "MistralForCausalLM", "{{question}}{{choices}}"), "...");
}

TEST(SamplePromptTest, LeavesOutWhatCannotBePasted) {
  EXPECT_EQ(PromptOf({{std::string(401, 'x'), true}, {"<image>\nWhat is it?", true}}), "...");
  EXPECT_EQ(PromptOf({}), "...");
  EXPECT_EQ(PromptOf({{"What is it?", true}}, "LlavaForConditionalGeneration"), "...");
}

}  // namespace
}  // namespace merganser

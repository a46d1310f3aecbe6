#include "worker/benchmark/builtin_benchmarks.h"

#include "tests/worker/benchmark/test_files.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

BenchmarkSpec Spec(const std::string& name, const std::string& use) {
  BenchmarkSpec spec;
  spec.name = name;
  spec.use = use;
  spec.data = "tasks/" + name + ".jsonl";
  return spec;
}

TEST(ResolveBenchmark, MgsmJaIsAsPublished) {
  const auto mgsm = ResolveBenchmark(Spec("mgsm", "mgsm_ja"));
  ASSERT_TRUE(mgsm.ok()) << mgsm.status();
  EXPECT_EQ(mgsm->name, "mgsm");
  EXPECT_EQ(mgsm->prompt,
            "以下に、あるタスクを説明する指示があります。リクエストを適切に完了するための回答を日本"
            "語で記述してくださ"
            "い。一歩一歩考えましょう。\n\n### 指示:\n{{question}}\n\n### 応答:");
  EXPECT_EQ(mgsm->max_new_tokens, 1024);
  EXPECT_THAT(mgsm->stop, ElementsAre("Instruction:", "Instruction", "Response:", "Response"));
  EXPECT_EQ(mgsm->extract, "sakana");
  EXPECT_EQ(mgsm->language, "ja");
  EXPECT_THAT(MetricNames(*mgsm), ElementsAre("acc", "acc_ja"));
}

TEST(ResolveBenchmark, LmehHasItsOwnRuleAndNoLanguage) {
  const auto mgsm = ResolveBenchmark(Spec("mgsm", "mgsm_ja_lmeh"));
  ASSERT_TRUE(mgsm.ok()) << mgsm.status();
  EXPECT_EQ(mgsm->extract, "jp_lmeh");
  EXPECT_THAT(mgsm->stop, ElementsAre("\n"));
  EXPECT_THAT(MetricNames(*mgsm), ElementsAre("acc"));
}

TEST(ResolveBenchmark, SetFieldsOverrideEvenWithEmptyValues) {
  BenchmarkSpec spec = Spec("x", "mgsm_ja");
  spec.prompt = "Q: {{question}}\nA:\n";
  spec.max_new_tokens = 36;
  spec.stop = std::vector<std::string>{};
  spec.language = "";
  spec.limit = 10;
  spec.answer_field = "gold";
  const auto x = ResolveBenchmark(spec);
  ASSERT_TRUE(x.ok()) << x.status();
  EXPECT_EQ(x->prompt, "Q: {{question}}\nA:\n");
  EXPECT_EQ(x->max_new_tokens, 36);
  EXPECT_TRUE(x->stop.empty());
  EXPECT_EQ(x->language, "");
  EXPECT_EQ(x->limit, 10);
  EXPECT_EQ(x->answer_field, "gold");
  EXPECT_EQ(x->extract, "sakana");
}

TEST(ResolveBenchmark, AHeldOutBenchmarkUsesOneOfTheJob) {
  BenchmarkSpec train = Spec("ja_math", "mgsm_ja");
  train.prompt = "Q: {{question}}\n";
  const auto test = ResolveBenchmark(Spec("ja_math_test", "ja_math"), {train});
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->name, "ja_math_test");
  EXPECT_EQ(test->data, "tasks/ja_math_test.jsonl");
  EXPECT_EQ(test->prompt, "Q: {{question}}\n");
  EXPECT_EQ(test->max_new_tokens, 1024);
}

TEST(ResolveBenchmark, ABenchmarkNamedAsItsBuiltinUsesTheBuiltin) {
  const BenchmarkSpec spec = Spec("mgsm_ja", "mgsm_ja");
  const auto mgsm = ResolveBenchmark(spec, {spec});
  ASSERT_TRUE(mgsm.ok()) << mgsm.status();
  EXPECT_EQ(mgsm->max_new_tokens, 1024);
}

TEST(ResolveBenchmark, ErrorsNameBenchmarkAndField) {
  ExpectError(ResolveBenchmark(Spec("x", "mgsm_jaa")), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("benchmark 'x': use 'mgsm_jaa' is not a benchmark"), HasSubstr("did you mean 'mgsm_ja'")));
  ExpectError(ResolveBenchmark(Spec("x", "winogender"), {Spec("mine", "mgsm_ja")}), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("; known: mgsm_ja, "), HasSubstr("mbpp, mmlu_SUBJECT, jmmlu_SUBJECT, mine"),
                    Not(HasSubstr("mmlu_anatomy"))));
  ExpectError(ResolveBenchmark(Spec("a", "b"), {Spec("a", "b"), Spec("b", "c"), Spec("c", "b")}),
              StatusCode::kInvalidArgument, HasSubstr("leads back to itself"));
  ExpectError(ResolveBenchmark(Spec("x", "")), StatusCode::kInvalidArgument,
              HasSubstr("benchmark 'x': field 'extract' is missing"));
  BenchmarkSpec spec = Spec("x", "mgsm_ja");
  spec.extract = "jp_lme";
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("did you mean 'jp_lmeh'"));
  spec = Spec("x", "mgsm_ja");
  spec.max_new_tokens = 0;
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("max_new_tokens 0 is not in [1, 1048576]"));
  spec = Spec("x", "mgsm_ja");
  spec.limit = -3;
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("limit -3 is below 1"));
  spec = Spec("x", "mgsm_ja");
  spec.stop = std::vector<std::string>{"a", ""};
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("stop[1] is empty"));
  spec.stop = std::vector<std::string>(65, "a");
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("stop has 65 strings, more than 64"));
  spec = Spec("x", "mgsm_ja");
  spec.question_field = "";
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("question_field is empty"));
}

}  // namespace
}  // namespace merganser

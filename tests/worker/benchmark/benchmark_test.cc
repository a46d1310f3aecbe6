#include "worker/benchmark/benchmark.h"

#include "tests/worker/benchmark/test_files.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

BenchmarkDefinition Definition(const std::string& data, const std::string& prompt) {
  BenchmarkDefinition definition;
  definition.name = "b";
  definition.data = data;
  definition.prompt = prompt;
  definition.max_new_tokens = 16;
  definition.extract = "sakana";
  return definition;
}

TEST(Benchmark, PromptsAreRenderedOnceInOrder) {
  const std::string data = WriteTestFile("d.jsonl",
                                         "{\"question\":\"1 < 2 & "
                                         "\\\"3\\\"？\",\"answer\":1,\"hint\":\"h1\"}\n{"
                                         "\"question\":\"q2\",\"answer\":2,\"hint\":7}\n");
  const auto benchmark = Benchmark::Load(Definition(data, "[{{hint}}] Q: {{question}}\nA:\n"));
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  EXPECT_THAT((*benchmark)->prompts(), ElementsAre("[h1] Q: 1 < 2 & \"3\"？\nA:\n", "[7] Q: q2\nA:\n"));
  EXPECT_EQ((*benchmark)->samples().size(), 2u);
  EXPECT_EQ((*benchmark)->definition().max_new_tokens, 16);
  const auto result = (*benchmark)->Score({"1", "1"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->metrics.at("acc"), 0.5);
}

TEST(Benchmark, TheExampleJobsBenchmarkLoadsWithTheModelBesideIt) {
  BenchmarkSpec spec;
  spec.name = "ja_math";
  spec.use = "mgsm_ja";
  spec.data = SourcePath("examples/ja-math/tasks/ja_math.train.jsonl");
  spec.prompt = "Q: {{question}}\nA:\n";
  const auto benchmark = Benchmark::Load(*ResolveBenchmark(spec));
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  ASSERT_EQ((*benchmark)->prompts().size(), 200u);
  EXPECT_EQ((*benchmark)->prompts()[0],
            "Q: "
            "太郎は最初ボールを6個持っていました。メアリーはボールを5個持っています。太郎はメアリー"
            "よりボールを何個多く持っ"
            "ていますか。\nA:\n");
  std::vector<std::string> completions;
  for (const Sample& sample : (*benchmark)->samples()) completions.push_back("答えは" + sample.answer + "です。");
  const auto result = (*benchmark)->Score(completions);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->metrics.at("acc"), 1);
  EXPECT_EQ(result->metrics.at("acc_ja"), 1);
}

TEST(Benchmark, BuiltinPromptsRender) {
  const std::string data = WriteTestFile("d.jsonl", "{\"question\":\"問題：いくつ？\",\"answer\":1}\n");
  BenchmarkSpec spec;
  spec.name = "m";
  spec.data = data;
  spec.use = "mgsm_ja_lmeh";
  const auto lmeh = Benchmark::Load(*ResolveBenchmark(spec));
  ASSERT_TRUE(lmeh.ok()) << lmeh.status();
  EXPECT_THAT((*lmeh)->prompts(), ElementsAre("問題：いくつ？\nステップごとの答え："));
  spec.use = "mgsm_ja";
  const auto mgsm = Benchmark::Load(*ResolveBenchmark(spec), {LanguageModelPath()});
  ASSERT_TRUE(mgsm.ok()) << mgsm.status();
  EXPECT_THAT((*mgsm)->prompts()[0], testing::EndsWith("\n\n### 指示:\n問題：いくつ？\n\n### 応答:"));
}

TEST(Benchmark, ARenamedQuestionIsStillTheTemplatesQuestion) {
  const std::string data = WriteTestFile("d.jsonl", "{\"problem\":\"p\",\"gold\":1}\n");
  BenchmarkDefinition definition = Definition(data, "{{question}}={{problem}}");
  definition.question_field = "problem";
  definition.answer_field = "gold";
  const auto benchmark = Benchmark::Load(definition);
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  EXPECT_THAT((*benchmark)->prompts(), ElementsAre("p=p"));
}

TEST(Benchmark, ErrorsNameWhatIsMissing) {
  const std::string data = WriteTestFile("d.jsonl", "{\"question\":\"q\",\"answer\":1}\n");
  ExpectError(Benchmark::Load(Definition("", "x")), StatusCode::kInvalidArgument,
              HasSubstr("benchmark 'b': field 'data' is missing"));
  ExpectError(Benchmark::Load(Definition(data, "")), StatusCode::kInvalidArgument,
              HasSubstr("benchmark 'b': field 'prompt' is missing"));
  BenchmarkDefinition endless = Definition(data, "x");
  endless.max_new_tokens = 0;
  ExpectError(Benchmark::Load(endless), StatusCode::kInvalidArgument, HasSubstr("field 'max_new_tokens' is missing"));
  ExpectError(Benchmark::Load(Definition(data, "{{ question")), StatusCode::kInvalidArgument,
              HasSubstr("prompt of benchmark 'b'"));
  ExpectError(Benchmark::Load(Definition(data, "{{ hint }}")), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("d.jsonl:1"), HasSubstr("hint")));
  ExpectError(Benchmark::Load(Definition(TestFolder() + "/none.jsonl", "x")), StatusCode::kNotFound,
              AllOf(HasSubstr("data of benchmark 'b'"), HasSubstr("none.jsonl")));
}

}  // namespace
}  // namespace merganser

// Multiple choice, log-likelihood, filters and metrics, few-shots, averages: what a model reads and how it is scored.
#include <filesystem>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/benchmark_group.h"
#include "worker/benchmark/wilson.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using Scores = std::vector<std::vector<ContinuationScore>>;

std::unique_ptr<Benchmark> Load(const BenchmarkSettings& spec) {
  const auto definition = ResolveBenchmark(spec);
  EXPECT_TRUE(definition.ok()) << definition.status();
  if (!definition.ok()) return nullptr;
  auto benchmark = Benchmark::Load(*definition);
  EXPECT_TRUE(benchmark.ok()) << benchmark.status();
  return benchmark.ok() ? *std::move(benchmark) : nullptr;
}

absl::Status LoadError(const BenchmarkSettings& spec) {
  const auto definition = ResolveBenchmark(spec);
  return definition.ok() ? Benchmark::Load(*definition).status() : definition.status();
}

BenchmarkSettings Colours() {
  BenchmarkSettings spec;
  spec.name = "colours";
  spec.data = WriteTestFile("colours.jsonl",
                            "{\"q\": \"grass\", \"options\": [\"red\", \"green\"], \"label\": 1}\n"
                            "{\"q\": \"sky\", \"options\": [\"blue\", \"vermilion\"], \"label\": 0}\n");
  spec.output = "multiple_choice";
  spec.prompt = "{{q}}:";
  spec.choices = {{"options"}};
  spec.target = "{{label}}";
  spec.question_field = "q";
  return spec;
}

TEST(MultipleChoice, EachChoiceIsScoredBehindThePrompt) {
  const auto benchmark = Load(Colours());
  ASSERT_NE(benchmark, nullptr);
  ASSERT_EQ(benchmark->continuations().size(), 2u);
  EXPECT_EQ(benchmark->continuations()[0][1].context, "grass:");
  EXPECT_EQ(benchmark->continuations()[0][1].continuation, " green");
  EXPECT_TRUE(benchmark->prompts().empty());
  EXPECT_EQ(benchmark->samples()[0].question, "grass");
  EXPECT_EQ(benchmark->samples()[0].answer, "green");
}

TEST(MultipleChoice, AccNormDividesByTheChoicesLength) {
  const auto benchmark = Load(Colours());
  ASSERT_NE(benchmark, nullptr);
  // sky: -4 for 4 characters against -5 for 9: blue is likelier, vermilion is likelier per character.
  const auto result = benchmark->Score(Scores{{{-3, false}, {-2, true}}, {{-4, true}, {-5, false}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->metrics, ElementsAre(Pair("acc", 1), Pair("acc_norm", 0.5)));
  const SampleOutcome& sky = result->samples[1];
  EXPECT_EQ(sky.prediction, "blue");
  EXPECT_TRUE(sky.correct);
  EXPECT_THAT(sky.values, ElementsAre(Pair("acc", 1), Pair("acc_norm", 0), Pair("gold", 0), Pair("ll_0", -4),
                                      Pair("ll_1", -5), Pair("pred", 0)));
  ExpectError(benchmark->Score(Scores{{{-3, false}}}), StatusCode::kInvalidArgument,
              HasSubstr("scores of 1 samples do not fit its 2"));
}

TEST(MultipleChoice, ATargetMayBeTheChoicesText) {
  BenchmarkSettings spec = Colours();
  spec.choices = {{"red", "green", "blue"}};
  spec.data = WriteTestFile("text.jsonl", "{\"q\": \"grass\", \"label\": \"green\"}\n");
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_THAT(benchmark->samples()[0].gold, ElementsAre(1));
  spec.data = WriteTestFile("text.jsonl", "{\"q\": \"grass\", \"label\": \"greeen\"}\n");
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("text.jsonl:1"), HasSubstr("target 'greeen' is none of the 3 choices")));
}

TEST(MultipleChoice, ChoicesMayBeTheContexts) {
  BenchmarkSettings spec;
  spec.name = "winograd";
  spec.data = WriteTestFile("w.jsonl",
                            "{\"sentence\": \"The cup fell because _ was loose.\", \"option1\": \"it\", "
                            "\"option2\": \"he\", \"answer\": \"1\"}\n");
  spec.output = "multiple_choice";
  spec.choices = {{"{{sentence.split('_')[0]}}{{option1}}", "{{sentence.split('_')[0]}}{{option2}}"}};
  spec.continuation = "{{sentence.split('_')[1].strip()}}";
  spec.target = "{{answer | int - 1}}";
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->continuations()[0][1].context, "The cup fell because he");
  EXPECT_EQ(benchmark->continuations()[0][1].continuation, " was loose.");
}

TEST(FewShots, TheFirstExamplesComeInOrderAndNoSampleIsItsOwn) {
  BenchmarkSettings spec = Colours();
  spec.description = "Colours.\n";
  spec.few_shot.count = 1;
  spec.few_shot.data = spec.data;
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->continuations()[0][0].context, "Colours.\nsky: blue\n\ngrass:");
  EXPECT_EQ(benchmark->continuations()[1][0].context, "Colours.\ngrass: green\n\nsky:");
}

TEST(FewShots, ASeedDrawsAnewForEachSampleAndAlwaysTheSame) {
  std::string data, shots;
  for (int i = 0; i < 20; ++i) absl::StrAppend(&data, "{\"question\": \"t", i, "\", \"answer\": ", i, "}\n");
  for (int i = 0; i < 50; ++i) absl::StrAppend(&shots, "{\"question\": \"s", i, "\", \"answer\": ", i, "}\n");
  BenchmarkSettings spec;
  spec.name = "b";
  spec.data = WriteTestFile("data.jsonl", data);
  spec.prompt = "{{question}}";
  spec.max_new_tokens = 4;
  spec.extract = "sakana";
  spec.few_shot.count = 2;
  spec.few_shot.data = WriteTestFile("shots.jsonl", shots);
  spec.few_shot.delimiter = ";";
  spec.target_delimiter = "=";
  const auto first = Load(spec);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->prompts()[7], "s0=0;s1=1;t7");
  spec.few_shot.seed = 3;
  const auto drawn = Load(spec), again = Load(spec);
  ASSERT_NE(drawn, nullptr);
  EXPECT_EQ(drawn->prompts(), again->prompts());
  EXPECT_NE(drawn->prompts()[0].substr(0, 4), drawn->prompts()[1].substr(0, 4));
}

TEST(FewShots, BadOnesAreNamed) {
  BenchmarkSettings spec = Colours();
  spec.few_shot.count = 3;
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument,
              HasSubstr("few_shot of benchmark 'colours': 3 examples, but neither data nor samples"));
  spec.few_shot.samples = {"{\"q\": \"coal\"}", "3"};
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("samples[1] is no map"));
  spec.few_shot.samples.pop_back();
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("count 3, but there are 1 examples"));
  spec.few_shot.count = 1;
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("few_shot.samples[0]"));
  spec.few_shot.samples.clear();
  spec.few_shot.data = TestFolder() + "/none.jsonl";
  ExpectError(LoadError(spec), StatusCode::kNotFound, AllOf(HasSubstr("none.jsonl"), HasSubstr("{count: 0}")));
}

TEST(Completions, EachFilterHasItsMetrics) {
  BenchmarkSettings spec;
  spec.name = "gsm";
  spec.use = "gsm8k";
  spec.few_shot.count = 0;
  spec.data = WriteTestFile("gsm.jsonl",
                            "{\"question\": \"How many?\", \"answer\": \"6*3\\n#### 1,018\"}\n"
                            "{\"question\": \"How much?\", \"answer\": \"#### 5\"}\n");
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->prompts()[0], "Question: How many?\nAnswer:");
  const auto result = benchmark->Score(std::vector<std::string>{" It is 1018.", " #### 5"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->metrics, ElementsAre(Pair("exact_match@flexible-extract", 1), Pair("exact_match@strict-match", 0.5)));
  EXPECT_EQ(result->samples[0].prediction, "[invalid]");
  EXPECT_FALSE(result->samples[0].correct);
}

TEST(Completions, AnyReferenceCounts) {
  BenchmarkSettings spec;
  spec.name = "jsquad";
  spec.use = "jsquad";
  spec.few_shot.count = 0;
  spec.metrics = {{{.name = "exact_match", .unit = "neologdn"}}};  // f1 needs MeCab's dictionary
  spec.data = WriteTestFile("squad.json",
                            R"({"data": [{"title": "梅雨", "paragraphs": [{"context": "梅雨 [SEP] 梅雨は雨の時期。", "qas": [
          {"id": "1", "question": "何の時期か", "answers": [{"text": "雨"}, {"text": "雨の時期"}]}]}]}]})");
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_THAT(benchmark->prompts()[0],
              testing::EndsWith("### 入力:\n文脈：梅雨は雨の時期。\n質問：何の時期か\n\n### 応答:\n"));
  const auto result = benchmark->Score(std::vector<std::string>{" 雨の　時期"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->metrics.at("exact_match"), 1);
}

TEST(Completions, ALanguageMakesEveryMetricStricter) {
  BenchmarkSettings spec;
  spec.name = "qa";
  spec.use = "qa_ja";
  spec.language = "ja";
  spec.data = WriteTestFile("qa.jsonl", "{\"question\": \"首都は\", \"answer\": [\"東京\", \"Tokyo\"]}\n");
  const auto definition = ResolveBenchmark(spec);
  ASSERT_TRUE(definition.ok()) << definition.status();
  EXPECT_THAT(MetricNames(*definition), ElementsAre("exact_match", "f1", "rougeL", "exact_match_ja", "f1_ja", "rougeL_ja"));
  const auto benchmark = Benchmark::Load(*definition, {LanguageModelPath()});
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  const auto result = (*benchmark)->Score(std::vector<std::string>{"Tokyo"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->metrics.at("exact_match"), 1);
  EXPECT_EQ(result->metrics.at("exact_match_ja"), 0);
  EXPECT_FALSE(result->samples[0].correct);
}

TEST(LogLikelihood, TargetsAreScoredByThemselves) {
  BenchmarkSettings spec;
  spec.name = "lambada";
  spec.output = "loglikelihood";
  spec.prompt = "{{text.rsplit(' ', 1)[0]}}";
  spec.target = "{{text.rsplit(' ', 1)[1]}}";
  spec.data = WriteTestFile("l.jsonl", "{\"text\": \"once upon a time\"}\n");
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->continuations()[0][0].context, "once upon a");
  EXPECT_EQ(benchmark->continuations()[0][0].continuation, " time");
  const auto result = benchmark->Score(Scores{{{-1, true}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->metrics.at("acc"), 1);
  EXPECT_NEAR(result->metrics.at("perplexity"), 2.718281828, 1e-9);
}

TEST(LogLikelihood, RollingTextsHaveNoPrompt) {
  BenchmarkSettings spec;
  spec.name = "wiki";
  spec.output = "loglikelihood_rolling";
  spec.target = "{{text}}";
  spec.data = WriteTestFile("l.jsonl", "{\"text\": \"two words\"}\n");
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->continuations()[0][0].context, "");
  const auto result = benchmark->Score(Scores{{{-9, false}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->metrics.at("byte_perplexity"), 2.718281828, 1e-9);
  EXPECT_NEAR(result->samples[0].values.at("words"), 2, 0);
}

TEST(Average, OfWhatIsBetterWhereItIsSmallerIsSoToo) {
  BenchmarkSettings texts = Colours(), both;
  texts.name = "texts";
  texts.output = "loglikelihood";
  texts.choices.reset();
  texts.metrics = {{{"perplexity"}, {"acc"}}};
  both.name = "both";
  both.average_of = {{"colours", "texts"}};
  const auto resolved = ResolveWithParts(both, {Colours(), texts, both});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  const auto group = BenchmarkGroup::Load(*resolved);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_TRUE((*group)->SmallerIsBetter("average"));
  EXPECT_TRUE((*group)->SmallerIsBetter("texts.perplexity"));
  EXPECT_FALSE((*group)->SmallerIsBetter("colours.acc"));
  EXPECT_TRUE(SmallerIsBetter("ter@remove.white"));
  EXPECT_TRUE(SmallerIsBetter("member.ter_ja@f"));
  EXPECT_FALSE(SmallerIsBetter("chrf"));
}

TEST(Average, MembersCountAlikeAndKeepTheirSamples) {
  const std::string folder = TestFolder();
  std::filesystem::create_directories(folder + "/xwinograd_ja");
  WriteTestFile("xwinograd_ja/test.jsonl", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"answer\": 2}\n");
  BenchmarkSettings colours = Colours();
  BenchmarkSettings both;
  both.name = "both";
  both.average_of = {{"colours", "xwinograd_ja"}};
  both.data = folder;
  const auto resolved = ResolveWithParts(both, {colours, both});
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(MetricNames(*resolved), ElementsAre("average", "colours.acc", "xwinograd_ja.acc"));
  const auto group = BenchmarkGroup::Load(*resolved);
  ASSERT_TRUE(group.ok()) << group.status();
  const auto a = (*group)->parts()[0]->Score(Scores{{{-3, false}, {-2, true}}, {{-4, true}, {-3, false}}});
  const auto b = (*group)->parts()[1]->Score(Scores{{{-3, false}, {-2, true}}});
  const BenchmarkResult result = (*group)->Combine(std::vector<BenchmarkResult>{*a, *b});
  EXPECT_EQ(result.benchmark, "both");
  EXPECT_EQ(result.metrics.at("colours.acc"), 0.5);
  EXPECT_EQ(result.metrics.at("xwinograd_ja.acc"), 1);
  EXPECT_EQ(result.metrics.at("average"), 0.75);
  // One sample says nothing of its error, so the average has none.
  EXPECT_EQ(result.metrics.count("average_stderr"), 0u);
  EXPECT_EQ(result.metrics.count("xwinograd_ja.acc_stderr"), 0u);
  EXPECT_NEAR(result.metrics.at("colours.acc_stderr"), 0.5, 1e-12);
  // (sqrt(0.25 / 1) and 0) over two members.
  BenchmarkResult twice = *b;
  twice.samples.push_back(twice.samples[0]);
  const BenchmarkResult four = (*group)->Combine(std::vector<BenchmarkResult>{*a, twice});
  EXPECT_NEAR(four.metrics.at("average_stderr"), 0.25, 1e-12);
  EXPECT_EQ(four.samples[0].values.at("colours.acc"), 1);
  EXPECT_EQ(four.samples[2].values.at("xwinograd_ja.acc"), 1);
  EXPECT_EQ(four.samples[3].values.count("xwinograd_ja.acc"), 0u);
  ASSERT_EQ(result.samples.size(), 3u);
  EXPECT_EQ(result.samples[2].values.at("member"), 1);
  both.average_of = {{"jp_lmeh"}};
  ExpectError(ResolveWithParts(both), StatusCode::kInvalidArgument, HasSubstr("'jp_lmeh' is an average itself"));
}

TEST(Definitions, WhatDoesNotFitTogetherIsRefused) {
  const auto bad = [](auto change, const std::string& message) {
    BenchmarkSettings spec = Colours();
    change(spec);
    ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr(message));
  };
  bad([](BenchmarkSettings& s) { s.output = "multiple_choise"; }, "did you mean 'multiple_choice'");
  bad([](BenchmarkSettings& s) { s.choices.reset(); }, "field 'choices' is missing");
  bad([](BenchmarkSettings& s) { s.target.reset(); }, "field 'target' is missing");
  bad([](BenchmarkSettings& s) { s.metrics = {{{"rouge1"}}}; }, "metrics: 'rouge1' is no metric of this output");
  bad([](BenchmarkSettings& s) { s.metrics = {{{"acc"}, {"acc"}}}; }, "'acc' is given twice");
  bad([](BenchmarkSettings& s) { s.metrics = {{{.name = "acc", .ignore_case = true}}}; },
      "only metrics that compare completions");
  bad([](BenchmarkSettings& s) { s.extract = "sakana"; }, "extract: only completions");
  bad([](BenchmarkSettings& s) { s.few_shot.count = 2000; }, "few_shot.count 2000 is not in [0, 1000]");
  bad([](BenchmarkSettings& s) { s.sampling = BenchmarkSampling{.temperature = -1}; },
      "sampling.temperature is not in [0, 100]");
  bad([](BenchmarkSettings& s) { s.sampling = BenchmarkSampling{.temperature = 1, .beams = 4}; }, "exclude each other");
  bad([](BenchmarkSettings& s) { s.output = "loglikelihood"; }, "choices: only multiple_choice and generate_until");
}

TEST(Definitions, ANullIsNoTextNone) {
  BenchmarkSettings spec = Colours();
  spec.output = "generate_until";
  spec.max_new_tokens = 4;
  spec.choices.reset();
  const auto error = [&](const std::string& prompt, const std::string& target, const std::string& second) {
    spec.prompt = prompt;
    spec.target = target;
    spec.data = WriteTestFile("nulls.jsonl", "{\"q\": \"sky\", \"label\": \"blue\"}\n" + second + "\n");
    return LoadError(spec);
  };
  const std::string null_answer = "{\"q\": \"grass\", \"label\": null}", null_question = "{\"q\": null, \"label\": \"x\"}";
  for (const std::string target : {"label", "{{label}}", "{{ label }}"}) {
    ExpectError(error("{{q}}:", target, null_answer), StatusCode::kInvalidArgument,
                HasSubstr("nulls.jsonl:2: field 'label' is null"));
  }
  ExpectError(error("{{q}}:", "label", "{\"q\": \"grass\", \"label\": [\"green\", null]}"), StatusCode::kInvalidArgument,
              HasSubstr("nulls.jsonl:2: field 'label' is null, or has a null in it"));
  ExpectError(error("{{q}}", "label", null_question), StatusCode::kInvalidArgument,
              HasSubstr("nulls.jsonl:2: field 'q' is null"));
  EXPECT_EQ(error("{{q}}:", "{{label or 'unknown'}}", null_answer), absl::OkStatus());
  spec = BenchmarkSettings();
  spec.name = "b";
  spec.use = "qa";
  spec.data = WriteTestFile("qa.jsonl", "{\"question\": \"grass\", \"answer\": null}\n");
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("qa.jsonl:1: field 'answer' is null"));
}

TEST(Completions, SeveralOfAPromptAreVotedOnOrAveraged) {
  const auto settings = ParseBenchmark(R"Y(
data: questions.jsonl
prompt: "{{question}}"
target: "{{answer}}"
max_new_tokens: 4
completions: 3
sampling: {temperature: 0.8}
filters:
  - {name: each}
  - {name: vote, steps: [{lowercase: true}, {majority_vote: true}]}
  - {name: first, steps: [{take_first_k: 1}]}
metrics: [exact_match, f1]
)Y",
                                       TestFolder() + "/b.yaml");
  ASSERT_TRUE(settings.ok()) << settings.status();
  WriteTestFile("questions.jsonl",
                "{\"question\": \"1\", \"answer\": \"one\"}\n{\"question\": \"2\", \"answer\": \"two\"}\n");
  BenchmarkSettings spec = *settings;
  spec.name = "b";
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_THAT(benchmark->prompts(), ElementsAre("1", "1", "1", "2", "2", "2"));
  const auto result = benchmark->Score({"none", "one", "One", "two", "three", "four"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->metrics.at("exact_match@each"), (1 / 3.0 + 1 / 3.0) / 2);
  EXPECT_DOUBLE_EQ(result->metrics.at("f1@each"), (2 / 3.0 + 1 / 3.0) / 2);
  EXPECT_EQ(result->metrics.at("exact_match@vote"), 1);  // of two answers that are alike, and of three the first
  // Shares of the two prompts: what is right for all that were asked need not be right for all that there are.
  EXPECT_EQ(result->metrics.count("exact_match@vote_stderr"), 0u);
  EXPECT_NEAR(IntervalOf(result->metrics, "exact_match@vote", ItemsOf(result->samples)).low, 0.342, 1e-3);
  EXPECT_EQ(result->metrics.at("exact_match@first"), 0.5);
  EXPECT_EQ(IntervalOf(result->metrics, "exact_match@first", ItemsOf(result->samples)).standard_error, 0.5);
  EXPECT_GT(result->metrics.at("f1@each_stderr"), 0);  // no share: each prompt has that of its answers
  // What was drawn of a prompt's completions votes.
  const auto some = benchmark->Score({"one", "four"}, {1, 5});
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ(some->metrics.at("exact_match@vote"), 0.5);
}

TEST(Definitions, WhatIsAFieldOfOneLineIsMissingInALineWithoutIt) {
  const std::string with = "{\"q\": \"sky\", \"label\": \"blue\"}\n", without = "{\"q\": \"grass\"}\n";
  BenchmarkSettings spec = Colours();
  spec.output = "generate_until";
  spec.max_new_tokens = 4;
  spec.choices.reset();
  spec.target = "label";
  spec.data = WriteTestFile("lines.jsonl", with + without);
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("lines.jsonl:2: field 'label' is missing"));
  spec.data = WriteTestFile("lines.jsonl", without + with);
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("lines.jsonl:1: field 'label' is missing"));
  spec.target = "no field";  // of any line: the text itself
  const auto benchmark = Load(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->samples()[1].answer, "no field");
}

TEST(Definitions, ATemplateThatAsksForWhatIsNotThereNamesIt) {
  BenchmarkSettings spec = Colours();
  spec.prompt = "{{qq}}";
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, AllOf(HasSubstr("colours.jsonl:1"), HasSubstr("qq")));
  spec = Colours();
  spec.choices = {{"{{q}}"}};
  ExpectError(LoadError(spec), StatusCode::kInvalidArgument, HasSubstr("choices: 'grass' is no list"));
}

}  // namespace
}  // namespace merganser

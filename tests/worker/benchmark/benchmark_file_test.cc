#include "worker/benchmark/benchmark_file.h"

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/python_random.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(BenchmarkFile, EveryPartOfADefinitionCanBeWritten) {
  const auto settings = ParseBenchmark(R"Y(
data: d.csv
columns: [question, answer]
prompt: "Q: {{question}}\nA:"
target: "{{answer}}"
max_new_tokens: 8
stop: ["\n"]
few_shot:
  count: 2
  delimiter: "\n"
  samples: [{question: one, answer: "1"}, {question: two, answer: 2}]
filters:
  - {name: strict, steps: [{regex: {pattern: "#### (\\d+)", match: -1, fallback: ""}}, {strip: true}]}
  - {name: loose, steps: [{number: jp_lmeh}, {map: {yes: "1"}}]}
metrics: [f1, {name: exact_match, ignore_case: true, regexes_to_ignore: [","]}]
sampling: {temperature: 0.7, seed: 42}
jp_lmeh: {stratified: true, too_long: shorter_articles, article_begin: "A:", article_end: "B:"}
)Y",
                                       "/folder/b.yaml");
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->data, "/folder/d.csv");
  EXPECT_THAT(settings->few_shot.samples,
              ElementsAre(R"({"question":"one","answer":"1"})", R"({"question":"two","answer":2})"));
  ASSERT_EQ(settings->filters->size(), 2u);
  EXPECT_EQ((*settings->filters)[0].steps[0].pattern, "#### (\\d+)");
  EXPECT_EQ((*settings->filters)[0].steps[0].match, -1);
  EXPECT_EQ((*settings->filters)[1].steps[1].map.at("yes"), "1");
  EXPECT_EQ((*settings->metrics)[0].name, "f1");
  EXPECT_EQ((*settings->metrics)[1].regexes_to_ignore, std::vector<std::string>{","});
  EXPECT_EQ(settings->sampling->temperature, 0.7);
  EXPECT_EQ(settings->sampling->top_p, 1);
  EXPECT_EQ(*settings->jp_lmeh, (JpLmehSettings{true, JpLmehSettings::TooLong::kShorterArticles, "A:", "B:"}));
}

TEST(BenchmarkFile, AJobsSettingsGoOverAFilesAndAFilesOverABuiltins) {
  WriteTestFile("d.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n");
  WriteTestFile("inner.yaml", "use: qa\ndata: d.jsonl\nprompt: inner\nmax_new_tokens: 4\n");
  BenchmarkSpec spec;
  spec.name = "mine";
  spec.use = WriteTestFile("outer.yaml", "use: ./inner.yaml\nstop: []\n");
  spec.prompt = "job";
  const auto definition = ResolveBenchmark(spec);
  ASSERT_TRUE(definition.ok()) << definition.status();
  EXPECT_EQ(definition->name, "mine");
  EXPECT_EQ(definition->prompt, "job");
  EXPECT_EQ(definition->max_new_tokens, 4);
  EXPECT_TRUE(definition->stop.empty());
  EXPECT_EQ(definition->target, "{{answer}}");
  EXPECT_EQ(definition->data, PathIn(spec.use, "d.jsonl"));
}

TEST(BenchmarkFile, ErrorsNameFileLineAndField) {
  const auto bad = [](const std::string& text, const std::string& message) {
    ExpectError(ParseBenchmark(text, "b.yaml"), StatusCode::kInvalidArgument, HasSubstr(message));
  };
  bad("use: qa\npromt: x\n", "b.yaml:2: promt: unknown field; did you mean 'prompt'");
  bad("use: qa\nlimit: x\n", "b.yaml:2: limit: 'x' is not a whole number");
  bad("few_shot: {count: 1, sead: 2}\n", "b.yaml:1: few_shot.sead: unknown field; did you mean 'seed'");
  bad("few_shot: 3\n", "b.yaml:1: few_shot: must be a map, not a value");
  bad("filters:\n- steps:\n  - {strip: true, lowercase: true}\n", "a step is one of regex");
  bad("filters:\n- steps:\n  - {regx: {pattern: x}}\n",
      "b.yaml:3: filters[0].steps[0].regx: unknown field; did you mean 'regex'");
  bad("code: {programm: x}\n", "b.yaml:1: code.programm: unknown field; did you mean 'program'");
  bad("jp_lmeh: {too_long: fewer}\n", "b.yaml:1: jp_lmeh.too_long: 'fewer' is not cut, fewer_examples or shorter_articles");
  bad("jp_lmeh: {too_long: shorter_articles}\n", "jp_lmeh.article_begin: is missing: what stands before an article");
  bad("jp_lmeh: {stratifed: true}\n", "jp_lmeh.stratifed: unknown field; did you mean 'stratified'");
  bad("metrics: [{nam: f1}]\n", "metrics[0].nam: unknown field; did you mean 'name'");
  bad("prompt: a\nprompt: b\n", "b.yaml:2: prompt: given twice");
  bad("prompt: [a\n", "not valid YAML");
  bad("- a\n", "b.yaml:1: the file must hold a map, not a list");
  WriteTestFile("self.yaml", "use: ./self.yaml\n");
  BenchmarkSpec spec;
  spec.name = "b";
  spec.use = TestFolder() + "/self.yaml";
  ExpectError(ResolveBenchmark(spec), StatusCode::kInvalidArgument, HasSubstr("more than 8 files that use each other"));
  spec.use = TestFolder() + "/none.yaml";
  ExpectError(ResolveBenchmark(spec), StatusCode::kNotFound, AllOf(HasSubstr("benchmark 'b'"), HasSubstr("none.yaml")));
}

TEST(LmEvalTask, GenerationReadsAsItIs) {
  const auto task = ParseBenchmark(R"Y(
task: my_gsm8k
tag: [math_word_problems]
dataset_path: json
dataset_kwargs: {data_files: {train: train.jsonl, test: test.jsonl}}
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]
generation_kwargs:
  until: ["Question:", "</s>"]
  do_sample: false
  temperature: 0.0
repeats: 1
num_fewshot: 5
filter_list:
  - name: "strict-match"
    filter:
      - function: "regex"
        regex_pattern: "#### (\\-?[0-9\\.\\,]+)"
      - function: "take_first"
metadata: {version: 3.0}
)Y",
                                   "/t/task.yaml");
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->data, "/t/test.jsonl");
  EXPECT_EQ(task->few_shot.data, "/t/train.jsonl");
  EXPECT_EQ(task->few_shot.count, 5);
  EXPECT_EQ(task->few_shot.python, true);
  EXPECT_EQ(task->max_new_tokens, 256);
  EXPECT_THAT(*task->stop, ElementsAre("Question:", "</s>"));
  ASSERT_EQ(task->filters->size(), 1u);
  EXPECT_EQ((*task->filters)[0].steps.size(), 2u);
  EXPECT_FALSE(task->completions.has_value());
  EXPECT_EQ((*task->metrics)[0].regexes_to_ignore.size(), 4u);
  EXPECT_FALSE(task->sampling.has_value());
}

TEST(LmEvalTask, ChoicesMayBeAListAMapOrAFieldsName) {
  const std::string head =
      "dataset_path: json\ndataset_kwargs: {data_files: d.jsonl}\noutput_type: multiple_choice\n"
      "doc_to_text: '{{q}}'\ndoc_to_target: label\n";
  EXPECT_THAT(*ParseBenchmark(head + "doc_to_choice: [no, yes]\n", "/t/t.yaml")->choices, ElementsAre("no", "yes"));
  EXPECT_THAT(*ParseBenchmark(head + "doc_to_choice: {0: no, 1: yes}\n", "/t/t.yaml")->choices, ElementsAre("no", "yes"));
  EXPECT_THAT(*ParseBenchmark(head + "doc_to_choice: options\n", "/t/t.yaml")->choices, ElementsAre("options"));
  const auto hub = ParseBenchmark(
      "dataset_path: org/set\ndataset_name: ja\ntest_split: test\ndoc_to_text: q\ndoc_to_target: a\n", "/t/t.yaml");
  ASSERT_TRUE(hub.ok()) << hub.status();
  EXPECT_EQ(hub->data, "");
  EXPECT_EQ(hub->data_source, "the split 'test' of the dataset org/set (ja) as JSON lines");
}

TEST(LmEvalTask, IncludedFilesSayWhatTheTaskDoesNot) {
  WriteTestFile("_common_yaml",
                "dataset_path: json\ndataset_kwargs: {data_files: d.jsonl}\ndoc_to_text: '{{q}}'\n"
                "doc_to_target: a\nprocess_docs: !function utils.process\nnum_fewshot: 2\n");
  WriteTestFile("middle.yaml", "include: _common_yaml\nprocess_docs: null\nnum_fewshot: 3\n");
  const std::string folder = TestFolder();
  const auto task = ParseBenchmark("include: [middle.yaml]\ntask: mine\ndoc_to_text: 'Q: {{q}}'\n", folder + "/t.yaml");
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->prompt, "Q: {{q}}");  // its own
  EXPECT_EQ(task->few_shot.count, 3);   // of the file that is nearer
  EXPECT_EQ(task->target, "a");         // of the farthest
  EXPECT_EQ(task->data, std::filesystem::path(folder + "/d.jsonl").lexically_normal().string());

  // Errors name the file that says it; Python that nobody overrides is refused.
  ExpectError(ParseBenchmark("include: _common_yaml\n", folder + "/t.yaml"), StatusCode::kInvalidArgument,
              HasSubstr("/_common_yaml:5: process_docs: '!function utils.process' asks for Python code"));
  WriteTestFile("middle.yaml", "include: _common_yaml\nprocess_docs: null\nnum_fewshot: three\n");
  ExpectError(ParseBenchmark("include: middle.yaml\n", folder + "/t.yaml"), StatusCode::kInvalidArgument,
              HasSubstr("/middle.yaml:3: num_fewshot: 'three' is not a whole number"));
  WriteTestFile("middle.yaml", "include: t.yaml\n");
  WriteTestFile("t.yaml", "include: middle.yaml\n");
  ExpectError(ReadBenchmarkFile(folder + "/t.yaml"), StatusCode::kInvalidArgument,
              HasSubstr("/middle.yaml:1: include: 't.yaml' includes itself"));
}

TEST(BenchmarkFile, AnAverageMayNameFiles) {
  WriteTestFile("first.yaml", "data: d.jsonl\nprompt: '{{q}}'\ntarget: a\n");
  WriteTestFile("second.yaml", "data: d.jsonl\nprompt: '{{q}}?'\ntarget: a\n");
  auto mean = ReadBenchmarkFile(WriteTestFile("mean.yaml", "average_of: [first.yaml, ./second.yaml]\n"));
  ASSERT_TRUE(mean.ok()) << mean.status();
  mean->name = "mean";
  const auto resolved = ResolveWithParts(*mean);
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_THAT(MetricNames(*resolved), ElementsAre("average", "first.exact_match", "second.exact_match"));
  auto twice = ReadBenchmarkFile(WriteTestFile("twice.yaml", "average_of: [first.yaml, ./first.yaml]\n"));
  twice->name = "twice";
  ExpectError(ResolveWithParts(*twice), StatusCode::kInvalidArgument, HasSubstr("two members are called 'first'"));
}

// PyYAML writes no-break spaces so.
TEST(LmEvalTask, EscapesOfYamlAreCharacters) {
  const auto task = ParseBenchmark(
      "doc_to_text: \"a\\_b\"\ndoc_to_target: a\nfewshot_config: {samples: [{q: \"37.4\\xB0C\\_\\N\"}]}\n", "/t/t.yaml");
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->prompt, "a\u00a0b");
  EXPECT_THAT(task->few_shot.samples, ElementsAre("{\"q\":\"37.4\u00b0C\u00a0\u0085\"}"));
}

TEST(LmEvalTask, WhatNeedsPythonOrIsUnknownIsRefusedByName) {
  const auto bad = [](const std::string& text, const std::string& message) {
    ExpectError(ParseBenchmark("doc_to_target: a\n" + text, "t.yaml"), StatusCode::kInvalidArgument, HasSubstr(message));
  };
  bad("doc_to_text: !function utils.doc_to_text\n",
      "t.yaml:2: doc_to_text: '!function utils.doc_to_text' asks for Python code");
  bad("process_docs: !function utils.x\n", "process_docs: '!function utils.x' asks for Python code");
  bad("doc_to_image: image\n", "t.yaml:2: doc_to_image: unknown field");
  ExpectError(ParseBenchmark("include: nowhere/base.yaml\n", "t.yaml"), StatusCode::kNotFound,
              HasSubstr("t.yaml:1: include: cannot open 'nowhere/base.yaml'"));
  ExpectError(ParseBenchmark("group: g\ntask_list: [a, b]\n", "t.yaml"), StatusCode::kInvalidArgument,
              HasSubstr("t.yaml:2: task_list: is not supported"));
  bad("include: t.yaml\n", "t.yaml:2: include: 't.yaml' includes itself");
  bad("include: {a: b}\n", "t.yaml:2: include: must be a file or a list of files");
  bad("filter_list: [{filter: [{function: format_span}]}]\n", "function: 'format_span' is not supported");
  bad("filter_list: [{filter: [{function: take_first}, {function: lowercase}]}]\n",
      "filter_list[0].filter[1].function: stands behind take_first, where the harness applies it to each letter");
  bad("metric_list: [{metric: f1}]\n", "metric: 'f1' is not supported for generate_until");
  bad("output_type: multiple_choice\nmetric_list: [{metric: acc, aggregation: median}]\n",
      "aggregation: 'median' is not supported for acc, only mean");
  bad("repeats: 0\n", "repeats: 0 is not in [1, 1000]");
  bad("fewshot_config: {sampler: balanced}\n", "sampler: 'balanced' is not default or first_n");
  bad("use_prompt: x\n", "use_prompt: unknown field");
}

// The right sides are Python's: random.Random(1234).sample(range(7473), 5), twice, and so on.
TEST(PythonRandom, DrawsWhatPythonDraws) {
  PythonRandom large(1234);
  EXPECT_THAT(large.Sample(7473, 5), ElementsAre(6374, 3610, 957, 61, 742));
  EXPECT_THAT(large.Sample(7473, 5), ElementsAre(7462, 6610, 4769, 286, 5501));
  EXPECT_THAT(large.Sample(30, 6), ElementsAre(22, 2, 3, 24, 11, 7));
  EXPECT_THAT(large.Sample(30, 6), ElementsAre(0, 29, 25, 28, 11, 20));
  EXPECT_THAT(large.Sample(10, 3), ElementsAre(9, 7, 8));
  PythonRandom wide((uint64_t{1} << 40) + 5);
  EXPECT_THAT(wide.Sample(100000, 4), ElementsAre(66110, 67753, 35206, 87005));
}

}  // namespace
}  // namespace merganser

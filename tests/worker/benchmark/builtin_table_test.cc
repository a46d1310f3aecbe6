// Every built-in on a few rows of its own kind of data: prompts to the letter, and errors that say where data is to be had.
#include "worker/benchmark/builtin_table.h"

#include <filesystem>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/benchmark_group.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

BenchmarkSettings Use(const std::string& name, const std::string& data) {
  BenchmarkSettings spec;
  spec.name = name;
  spec.use = name;
  spec.data = data;
  return spec;
}

std::unique_ptr<Benchmark> LoadBuiltin(const BenchmarkSettings& spec) {
  const auto definition = ResolveBenchmark(spec);
  EXPECT_TRUE(definition.ok()) << definition.status();
  auto benchmark = Benchmark::Load(*definition, {LanguageModelPath()});
  EXPECT_TRUE(benchmark.ok()) << benchmark.status();
  return benchmark.ok() ? *std::move(benchmark) : nullptr;
}

TEST(BuiltinTable, EveryOneResolvesAndSaysWhereItsDataIsToBeHad) {
  EXPECT_GT(BuiltinTable().size(), 130u);
  for (const BuiltinBenchmark& builtin : BuiltinTable()) {
    const auto resolved = ResolveWithParts(Use(builtin.spec.name, ""));
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    for (const BenchmarkDefinition& part : resolved->parts) {
      if (part.data_source.empty()) {
        EXPECT_THAT(part.name, testing::StartsWith("qa")) << part.name;
        continue;
      }
      const auto benchmark = Benchmark::Load(part, {LanguageModelPath()});
      ExpectError(benchmark, StatusCode::kInvalidArgument,
                  AllOf(HasSubstr("field 'data' is missing"), HasSubstr(part.data_source)));
    }
  }
}

TEST(BuiltinTable, AFolderIsSearchedForTheBuiltinsFile) {
  const std::string folder = TestFolder();
  ExpectError(Benchmark::Load(*ResolveBenchmark(Use("jcommonsenseqa", folder))), StatusCode::kNotFound,
              AllOf(HasSubstr("jcommonsenseqa-v1.3/valid-v1.3.json"), HasSubstr("github.com/yahoojapan/JGLUE")));
  std::filesystem::create_directories(folder + "/jcommonsenseqa-v1.3");
  const std::string row =
      "{\"q_id\": 0, \"question\": \"q\", \"choice0\": \"a\", \"choice1\": \"b\", \"choice2\": \"c\", \"choice3\": \"d\", "
      "\"choice4\": \"e\", \"label\": 2}\n";
  WriteTestFile("jcommonsenseqa-v1.3/valid-v1.3.json", row);
  ExpectError(Benchmark::Load(*ResolveBenchmark(Use("jcommonsenseqa", folder))), StatusCode::kNotFound,
              AllOf(HasSubstr("jcommonsenseqa-v1.3/train-v1.3.json"), HasSubstr("{count: 0}")));
  BenchmarkSettings spec = Use("jcommonsenseqa", folder);
  spec.few_shot.count = 0;
  const auto benchmark = LoadBuiltin(spec);
  ASSERT_NE(benchmark, nullptr);
  EXPECT_EQ(benchmark->continuations()[0][2].context,
            "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。\n\n"
            "### 指示:\n与えられた選択肢の中から、最適な答えを選んでください。出力は以下から選択してください：\n"
            "- a\n- b\n- c\n- d\n- e\n\n### 入力:\nq\n\n### 応答:\n");
  EXPECT_EQ(benchmark->continuations()[0][2].continuation, "c");
  EXPECT_EQ(benchmark->samples()[0].answer, "c");
  // The file itself will do: its examples are beside it.
  const std::string file = folder + "/jcommonsenseqa-v1.3/valid-v1.3.json";
  EXPECT_EQ(ResolveBenchmark(Use("jcommonsenseqa", file))->data, file);
  EXPECT_EQ(ResolveBenchmark(Use("jcommonsenseqa", file))->few_shot.data, folder + "/jcommonsenseqa-v1.3/train-v1.3.json");
}

TEST(BuiltinTable, DataMayBeTheVeryFolderOfItsFiles) {
  const std::string folder = TestFolder() + "/jcommonsenseqa-v1.3";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/valid-v1.3.json") << "{}\n";
  const auto found = ResolveBenchmark(Use("jcommonsenseqa", folder));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->data, folder + "/valid-v1.3.json");
  EXPECT_EQ(found->few_shot.data, folder + "/jcommonsenseqa-v1.3/train-v1.3.json");  // not there: where it is expected
  std::ofstream(folder + "/train-v1.3.json.gz") << "packed";
  EXPECT_EQ(ResolveBenchmark(Use("jcommonsenseqa", folder))->few_shot.data,
            folder + "/train-v1.3.json.gz");  // reading it says how to unpack
}

TEST(BuiltinTable, FilesMayBeOfAnotherReleaseOfTheSameForm) {
  const std::string folder = TestFolder() + "/jglue";
  for (const char* release : {"1.3", "1.1"}) {  // with both there the one of the harness is taken
    const std::string of_release = absl::StrCat(folder, "/jnli-v", release);
    std::filesystem::create_directories(of_release);
    std::ofstream(absl::StrCat(of_release, "/valid-v", release, ".json")) << "{}\n";
    std::ofstream(absl::StrCat(of_release, "/train-v", release, ".json")) << "{}\n";
    const std::string file = absl::StrCat(of_release, "/valid-v", release, ".json");
    for (const std::string& data : {folder, of_release, file}) {
      const auto found = ResolveBenchmark(Use("jnli", data));
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ(found->data, file);
      EXPECT_EQ(found->few_shot.data, absl::StrCat(of_release, "/train-v", release, ".json"));
    }
  }
}

TEST(BuiltinTable, LabelsMayBeWordsOrNumbers) {
  for (const char* label : {"\"contradiction\"", "1"}) {
    BenchmarkSettings spec =
        Use("jnli", WriteTestFile("jnli.json", absl::StrCat("{\"sentence1\": \"p\", \"sentence2\": \"h\", "
                                                            "\"label\": ",
                                                            label, "}\n")));
    spec.few_shot.count = 0;
    const auto jnli = LoadBuiltin(spec);
    ASSERT_NE(jnli, nullptr);
    EXPECT_EQ(jnli->samples()[0].answer, "矛盾");
    EXPECT_THAT(jnli->continuations()[0][0].context, testing::EndsWith("### 入力:\n前提：p\n仮説：h\n\n### 応答:\n"));
  }
  BenchmarkSettings spec = Use("marc_ja_v02", WriteTestFile("marc.json", "{\"text\": \"良い\", \"label\": \"positive\"}\n"));
  spec.few_shot.count = 0;
  const auto marc = LoadBuiltin(spec);
  ASSERT_NE(marc, nullptr);
  EXPECT_EQ(marc->samples()[0].answer, "positive");
  EXPECT_THAT(marc->continuations()[0][0].context, testing::EndsWith("製品レビュー:良い\nセンチメント:"));
}

TEST(BuiltinTable, MgsmsExamplesKeepTheirLabelsOnce) {
  const auto de = LoadBuiltin(Use("mgsm_de", WriteTestFile("de.tsv", "Wie viele?\t2,125\n")));
  ASSERT_NE(de, nullptr);
  const std::string& prompt = de->prompts()[0];
  EXPECT_THAT(prompt, testing::StartsWith("Frage: Roger hat 5 Tennisbälle."));
  EXPECT_THAT(prompt, HasSubstr("Tennisbälle hat er jetzt?\nSchritt-für-Schritt-Antwort: Roger begann mit 5 Bällen."));
  EXPECT_THAT(prompt, testing::EndsWith("\n\nFrage: Wie viele?\nSchritt-für-Schritt-Antwort:"));
  EXPECT_EQ(de->Score(std::vector<std::string>{" Die Antwort ist 2.125."})->metrics.at("acc"), 0);
  EXPECT_EQ(de->Score(std::vector<std::string>{" Die Antwort ist 2,125."})->metrics.at("acc"), 1);
  const auto ja = LoadBuiltin(Use("mgsm_ja_alpaca", WriteTestFile("ja.tsv", "いくつ？\t18\n")));
  ASSERT_NE(ja, nullptr);
  EXPECT_THAT(ja->prompts()[0],
              HasSubstr("### 入力:\nロジャーは5個のテニスボールがあります。"));  // drawn among five of eight
  EXPECT_THAT(ja->prompts()[0], HasSubstr("### 応答:\nロジャーは最初5個のボールがありました。"));
  EXPECT_THAT(ja->prompts()[0], testing::Not(testing::AnyOf(HasSubstr("問題："), HasSubstr("ステップごとの答え："))));
  const auto zh = LoadBuiltin(Use("mgsm_zh", WriteTestFile("zh.tsv", "多少？\t3\n")));
  EXPECT_THAT(zh->prompts()[0], testing::EndsWith("\n\n问题：多少？\n逐步解答："));
}

TEST(BuiltinTable, Gsm8kHasFiveExamplesOfItsTrainingFileAndTheChainOfThoughtItsOwnEight) {
  const std::string folder = TestFolder();
  WriteTestFile("test.jsonl", "{\"question\": \"How many?\", \"answer\": \"#### 3\"}\n");
  std::string train;
  for (int i = 0; i < 6; ++i) absl::StrAppend(&train, "{\"question\": \"q", i, "\", \"answer\": \"a\\n#### ", i, "\"}\n");
  WriteTestFile("train.jsonl", train);
  const auto five = LoadBuiltin(Use("gsm8k", folder));
  ASSERT_NE(five, nullptr);
  EXPECT_THAT(five->prompts()[0], testing::StartsWith("Question: q0\nAnswer: a\n#### 0\n\nQuestion: q1"));
  EXPECT_THAT(five->prompts()[0], testing::EndsWith("#### 4\n\nQuestion: How many?\nAnswer:"));
  const auto cot = LoadBuiltin(Use("gsm8k_cot", folder));
  ASSERT_NE(cot, nullptr);
  EXPECT_THAT(cot->prompts()[0], HasSubstr("The answer is 8.\n\nQ: How many?\nA:"));
  const auto result = cot->Score(std::vector<std::string>{" The answer is 3."});
  EXPECT_EQ(result->metrics.at("exact_match@strict-match"), 1);
}

TEST(BuiltinTable, MmlusFilesMayHaveAHeaderOrTheHubsForm) {
  const std::string folder = TestFolder();
  const std::string expected = "Q?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:";
  for (const auto& [name, bytes] : std::vector<std::pair<const char*, const char*>>{
           {"mmlu.csv", "Q?,1,2,3,4,C\n"},
           {"mmlu.csv", "question,choice0,choice1,choice2,choice3,answer\nQ?,1,2,3,4,2\n"},
           {"mmlu.csv", ",prompt,A,B,C,D,answer\n0,Q?,1,2,3,4,C\n"},
           {"mmlu.csv", "0,1,2,3,4,5\nQ?,1,2,3,4,C\n"},
           {"mmlu.jsonl", R"({"question": "Q?", "choices": ["1", "2", "3", "4"], "answer": 2})"}}) {
    BenchmarkSettings spec = Use("mmlu_anatomy", WriteTestFile(name, bytes));
    spec.few_shot.count = 0;
    const auto mmlu = LoadBuiltin(spec);
    ASSERT_NE(mmlu, nullptr) << bytes;
    ASSERT_EQ(mmlu->samples().size(), 1u) << bytes;
    EXPECT_THAT(mmlu->continuations()[0][2].context, testing::EndsWith(expected)) << bytes;
    EXPECT_EQ(mmlu->samples()[0].answer, "C") << bytes;
  }
}

TEST(BuiltinTable, MmlusSubjectsAreAveraged) {
  const std::string folder = TestFolder();
  WriteTestFile("anatomy.csv", "\xEF\xBB\xBF肝臓は,\"1, 2\",b,c,d,B\n");
  BenchmarkSettings spec = Use("jmmlu_anatomy", folder);
  const auto jmmlu = LoadBuiltin(spec);
  ASSERT_NE(jmmlu, nullptr);
  EXPECT_EQ(jmmlu->continuations()[0][1].context, "肝臓は\nA. 1, 2\nB. b\nC. c\nD. d\n答え:");
  EXPECT_EQ(jmmlu->continuations()[0][1].continuation, " B");
  EXPECT_EQ(jmmlu->samples()[0].answer, "B");
  EXPECT_EQ(ResolveWithParts(Use("mmlu", folder))->parts.size(), 57u);
  EXPECT_EQ(ResolveWithParts(Use("jmmlu", folder))->parts.size(), 53u);
  EXPECT_EQ(ResolveWithParts(Use("mgsm", folder))->parts.size(), 11u);
  EXPECT_THAT(
      MetricNames(*ResolveWithParts(Use("jp_lmeh", folder))),
      ElementsAre("average", "jcommonsenseqa.acc", "jnli.acc", "marc_ja.acc", "jsquad.exact_match", "jaqket_v2.exact_match",
                  "xlsum_ja.rouge2_median", "xwinograd_ja.acc", "mgsm_ja_alpaca.acc", "jcola.balanced_acc"));
}

TEST(BuiltinTable, LongTexts) {
  BenchmarkSettings spec =
      Use("jaqket_v2", WriteTestFile("jaqket.jsonl",
                                     "{\"question\": \"誰\", \"answers\": {\"text\": [\"甲\", \"乙\"]}, "
                                     "\"ctxs\": {\"text\": [\"一\", \"二\"]}}\n"));
  spec.few_shot.count = 0;
  spec.metrics = {{{.name = "exact_match", .unit = "neologdn"}}};  // without MeCab's dictionary
  const auto jaqket = LoadBuiltin(spec);
  ASSERT_NE(jaqket, nullptr);
  EXPECT_THAT(jaqket->prompts()[0], HasSubstr("### 入力:\n文脈：一\n二\n質問：誰\n\n### 応答:\n"));
  EXPECT_THAT(jaqket->samples()[0].references, ElementsAre("甲", "乙"));
  spec = Use("xlsum_ja", WriteTestFile("xlsum.jsonl", "{\"text\": \"記事\", \"summary\": \"要約です\"}\n"));
  spec.few_shot.count = 0;
  spec.metrics = {{{.name = "rouge2", .unit = "characters"}}};  // without a model
  const auto xlsum = LoadBuiltin(spec);
  ASSERT_NE(xlsum, nullptr);
  const auto result = xlsum->Score(std::vector<std::string>{"要約だ"});
  EXPECT_NEAR(result->metrics.at("rouge2"), 2 * (1 / 2.0) * (1 / 3.0) / (1 / 2.0 + 1 / 3.0), 1e-12);
}

}  // namespace
}  // namespace merganser

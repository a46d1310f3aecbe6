// The built-in benchmarks of JP-LMEH, request by request and value by value what that harness's own code makes of the same
// data (tests/golden/jp_lmeh_goldens.py).
#include "worker/benchmark/jp_lmeh.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/benchmark.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/morphemes.h"
#include "worker/benchmark/python_random.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

using absl::StatusCode;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

std::string DataPath(const std::string& name) { return SourcePath("tests/worker/benchmark/testdata/jp_lmeh/" + name); }

// The goldens' tokenizer: a token is a character.
std::shared_ptr<const ModelText> CharacterModel(int64_t max_context) {
  ModelText model;
  model.encode = [](absl::string_view text) -> absl::StatusOr<std::vector<int32_t>> {
    std::vector<int32_t> tokens;
    while (!text.empty()) {
      uint32_t c = 0;
      text.remove_prefix(std::max(1, Utf8Character(text, &c)));
      tokens.push_back(static_cast<int32_t>(c));
    }
    return tokens;
  };
  model.decode = [](absl::Span<const int32_t> tokens) -> absl::StatusOr<std::string> {
    std::string text;
    for (const int32_t token : tokens) text += json::parse(absl::StrFormat("\"\\u%04x\"", token)).get<std::string>();
    return text;
  };
  model.max_context = max_context;
  return std::make_shared<const ModelText>(std::move(model));
}

std::vector<json> Lines(const std::string& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

BenchmarkSettings SettingsOfRun(const json& run) {
  BenchmarkSettings settings;
  settings.name = settings.use = run["benchmark"].get<std::string>();
  settings.data = DataPath(run["data"].get<std::string>());
  settings.limit = run["limit"].get<int64_t>();
  if (const std::string train = run["train"]; !train.empty()) settings.few_shot.data = DataPath(train);
  return settings;
}

class JpLmehGoldens : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    samples_ = Lines(DataPath(absl::StrCat(GetParam(), ".golden.jsonl")));
    ASSERT_GT(samples_.size(), 1u);
    run_ = samples_.front();
    samples_.erase(samples_.begin());
    ASSERT_EQ(static_cast<int64_t>(samples_.size()), run_["limit"].get<int64_t>());
  }

  std::unique_ptr<Benchmark> Loaded(const BenchmarkSettings& settings) {
    const auto definition = ResolveBenchmark(settings);
    EXPECT_TRUE(definition.ok()) << definition.status();
    ScorerOptions options;
    options.model = CharacterModel(run_["max_length"].get<int64_t>());
    auto benchmark = Benchmark::Load(*definition, options);
    EXPECT_TRUE(benchmark.ok()) << benchmark.status();
    return benchmark.ok() ? *std::move(benchmark) : nullptr;
  }

  json run_;
  std::vector<json> samples_;
};

TEST_P(JpLmehGoldens, RequestsAreTheHarnesses) {
  BenchmarkSettings settings = SettingsOfRun(run_);
  if (!samples_[0].contains("continuations")) settings.metrics = {{{.name = "exact_match", .unit = "neologdn"}}};
  if (settings.use.starts_with("mgsm_ja")) settings.metrics.reset();
  const auto benchmark = Loaded(settings);
  ASSERT_NE(benchmark, nullptr);
  ASSERT_EQ(benchmark->samples().size(), samples_.size());
  EXPECT_EQ(benchmark->definition().few_shot.count, run_["num_fewshot"].get<int>());
  for (size_t i = 0; i < samples_.size(); ++i) {
    const json& wanted = samples_[i];
    if (!wanted.contains("continuations")) {
      EXPECT_EQ(benchmark->prompts()[i], wanted["context"].get<std::string>()) << "sample " << i;
      continue;
    }
    std::set<std::string> continuations;
    for (const ScoringText& text : benchmark->continuations()[i]) {
      EXPECT_EQ(text.context, wanted["context"].get<std::string>()) << "sample " << i;
      continuations.insert(text.continuation);
    }
    EXPECT_EQ(continuations, wanted["continuations"].get<std::set<std::string>>()) << "sample " << i;
  }
}

TEST_P(JpLmehGoldens, MetricsAreTheHarnesses) {
  BenchmarkSettings settings = SettingsOfRun(run_);
  const bool squad = samples_[0]["metrics"].contains("f1");
  if (squad && !FindMecabDictionary({}).ok()) settings.metrics = {{{.name = "exact_match", .unit = "neologdn"}}};
  const auto benchmark = Loaded(settings);
  ASSERT_NE(benchmark, nullptr);
  absl::StatusOr<BenchmarkResult> result;
  if (samples_[0].contains("continuations")) {
    std::vector<std::vector<ContinuationScore>> scores;
    for (size_t i = 0; i < samples_.size(); ++i) {
      scores.emplace_back();
      const auto texts = samples_[i]["continuations"].get<std::vector<std::string>>();
      for (const ScoringText& text : benchmark->continuations()[i]) {
        const auto at = std::find(texts.begin(), texts.end(), text.continuation) - texts.begin();
        ASSERT_LT(static_cast<size_t>(at), texts.size());
        scores.back().push_back({samples_[i]["log_likelihoods"][at].get<double>(), false});
      }
    }
    result = benchmark->Score(scores);
  } else {
    std::vector<std::string> completions;
    for (const json& sample : samples_) completions.push_back(sample["completion"]);
    result = benchmark->Score(completions);
  }
  ASSERT_TRUE(result.ok()) << result.status();
  for (size_t i = 0; i < samples_.size(); ++i) {
    for (const auto& [metric, value] : samples_[i]["metrics"].items()) {
      const auto found = result->samples[i].values.find(metric == "rouge2 tokens" ? "rouge2" : metric);
      if (found == result->samples[i].values.end()) continue;
      EXPECT_NEAR(found->second, value.get<double>(), 1e-12) << metric << " of sample " << i;
    }
  }
  int compared = 0;
  for (const auto& [metric, value] : run_["results"].items()) {
    const std::string ours = metric == "rouge2" ? "rouge2_median" : metric;  // what the harness calls so
    const double scale = squad || metric == "rouge2" ? 100 : 1;
    const auto found = result->metrics.find(ours);
    if (found == result->metrics.end()) continue;  // acc_norm, where the choices are always the same
    ++compared;
    EXPECT_NEAR(scale * found->second, value.get<double>(), 1e-10) << metric;
  }
  EXPECT_GE(compared, 1);
}

INSTANTIATE_TEST_SUITE_P(Tasks, JpLmehGoldens,
                         testing::Values("jcommonsenseqa", "jcommonsenseqa_v02", "jnli", "jnli_v02", "marc_ja",
                                         "marc_ja_v02", "jsquad", "jsquad_v02", "jcola", "jcola_v00", "jaqket_v2",
                                         "jaqket_v2_v02", "xlsum_ja", "xlsum_ja_v00", "xwinograd_ja", "mgsm_ja_alpaca",
                                         "mgsm_ja_v00", "jaqket_v2.tight", "jaqket_v2_v02.tight", "xlsum_ja.tight",
                                         "xlsum_ja_v00.tight", "mgsm_ja_alpaca.tight"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(JpLmeh, SummariesMayBeComparedByMecabsWords) {
  if (!FindMecabDictionary({}).ok()) GTEST_SKIP() << FindMecabDictionary({}).status().message();
  for (const char* task : {"xlsum_ja", "xlsum_ja_v00"}) {
    const std::vector<json> lines = Lines(DataPath(absl::StrCat(task, ".golden.jsonl")));
    BenchmarkSettings settings = SettingsOfRun(lines.front());
    settings.metrics = {{{.name = "rouge2", .unit = "mecab"}}};
    const auto benchmark = Benchmark::Load(*ResolveBenchmark(settings));
    ASSERT_TRUE(benchmark.ok()) << benchmark.status();
    std::vector<std::string> completions;
    for (size_t i = 1; i < lines.size(); ++i) completions.push_back(lines[i]["completion"]);
    const auto result = (*benchmark)->Score(completions);
    ASSERT_TRUE(result.ok()) << result.status();
    for (size_t i = 0; i < completions.size(); ++i) {
      const double wanted = lines[i + 1]["metrics"]["rouge2 mecab"];
      EXPECT_NEAR(result->samples[i].values.at("rouge2"), wanted, 1e-12) << task << " " << i;
    }
  }
}

TEST(JpLmeh, AnotherSeedGivesOtherSamplesAndExamples) {
  const json run = Lines(DataPath("jnli.golden.jsonl")).front();
  BenchmarkSettings settings = SettingsOfRun(run);
  const auto published = Benchmark::Load(*ResolveBenchmark(settings));
  settings.few_shot.seed = 42;
  const auto same = Benchmark::Load(*ResolveBenchmark(settings));
  settings.few_shot.seed = 43;
  const auto other = Benchmark::Load(*ResolveBenchmark(settings));
  ASSERT_TRUE(published.ok() && same.ok() && other.ok());
  EXPECT_EQ((*same)->continuations()[0][0].context, (*published)->continuations()[0][0].context);
  EXPECT_NE((*other)->continuations()[0][0].context, (*published)->continuations()[0][0].context);
  EXPECT_NE((*other)->samples()[0].line, (*published)->samples()[0].line);
}

TEST(JpLmeh, APromptThatIsTooLongWithoutExamplesIsToldWithItsLine) {
  const json run = Lines(DataPath("jaqket_v2.golden.jsonl")).front();
  BenchmarkSettings settings = SettingsOfRun(run);
  settings.metrics = {{{.name = "exact_match", .unit = "neologdn"}}};
  ScorerOptions options;
  options.model = CharacterModel(100);
  ExpectError(
      Benchmark::Load(*ResolveBenchmark(settings), options), StatusCode::kInvalidArgument,
      AllOf(HasSubstr("jaqket_v2.data.jsonl:"), HasSubstr("tokens even without examples; the model has room for 9")));
}

// That harness's own way: beginnings one after the other.
std::string SentenceBySentence(const std::string& article, int64_t room, const ModelText& model) {
  std::string kept;
  bool first = true;
  for (const absl::string_view sentence : absl::StrSplit(article, "。")) {
    const std::string longer = first ? std::string(sentence) : absl::StrCat(kept, "。", sentence);
    std::vector<int32_t> tokens = model.encode(longer).value();
    if (static_cast<int64_t>(tokens.size()) > room) {
      if (!first) return absl::StrCat(kept, "。\n");
      tokens.resize(std::max<int64_t>(room, 0));
      return absl::StrCat(model.decode(tokens).value(), "\n");
    }
    kept = longer;
    first = false;
  }
  return kept;
}

TEST(JpLmeh, AnArticleIsCutWhereThatHarnessCutsItWhateverTheTokens) {
  JpLmehSettings settings;
  settings.article_begin = "<", settings.article_end = ">";
  // A token is a character; but "aa" is one, and a sentence "b" makes one of what stands before it.
  ModelText model = *CharacterModel(0);
  const auto characters = model.encode;
  model.encode = [characters](absl::string_view text) -> absl::StatusOr<std::vector<int32_t>> {
    return characters(absl::StrReplaceAll(text, {{"aa", "A"}, {"cc。b", "B"}}));
  };
  PythonRandom random(7);
  for (int round = 0; round < 400; ++round) {
    std::string article = "<";
    const uint32_t sentences = random.Sample(30, 1)[0];
    for (uint32_t i = 0; i < sentences; ++i) {
      const uint32_t kind = random.Sample(4, 1)[0];
      article += kind == 0 ? "b" : std::string(random.Sample(60, 1)[0], kind == 1 ? 'a' : 'x') + (kind == 2 ? "cc" : "");
      article += "。";
    }
    const int64_t length = static_cast<int64_t>(model.encode(article + ">y").value().size());
    for (const int64_t room : {int64_t{-3}, int64_t{0}, int64_t{1}, int64_t{40}, length / 3, length - 2, length - 1}) {
      if (length <= room) continue;
      const auto shorter = WithShorterArticles(article + ">y", settings, room, model);
      ASSERT_TRUE(shorter.ok()) << shorter.status();
      EXPECT_EQ(*shorter, SentenceBySentence(article, room, model) + ">y") << article << " in " << room;
    }
  }
}

TEST(JpLmeh, CuttingAnArticleTakesTimeLinearInTheRoom) {
  JpLmehSettings settings;
  settings.article_begin = "<", settings.article_end = ">";
  ModelText model = *CharacterModel(0);
  size_t bytes = 0;
  model.encode = [&bytes, encode = model.encode](absl::string_view text) {
    bytes += text.size();
    return encode(text);
  };
  std::string article = "<";
  for (int i = 0; i < 5000; ++i) article += std::string(1 + i % 29, 'x') + "。";
  const size_t prompt = article.size() + 1;
  for (const int64_t room : {100, 1000, 10000}) {
    bytes = 0;
    ASSERT_TRUE(WithShorterArticles(article + ">", settings, room, model).ok());
    EXPECT_LT(bytes, prompt + 12 * static_cast<size_t>(room) + 1000) << room;  // the prompt once, and a few beginnings
  }
}

TEST(JpLmeh, TheMedianIsTheMainMetricWhereItExists) {
  BenchmarkSettings settings = SettingsOfRun(Lines(DataPath("xlsum_ja.golden.jsonl")).front());
  EXPECT_EQ(MainMetric(*ResolveBenchmark(settings)), "rouge2_median");
  settings.metrics = {{{.name = "bleu"}}};  // of all summaries together: it has no median
  EXPECT_EQ(MainMetric(*ResolveBenchmark(settings)), "bleu");
}

TEST(JpLmeh, TheModelsTokensNeedAModel) {
  const json run = Lines(DataPath("xlsum_ja.golden.jsonl")).front();
  ExpectError(Benchmark::Load(*ResolveBenchmark(SettingsOfRun(run))), StatusCode::kFailedPrecondition,
              AllOf(HasSubstr("unit 'tokens' counts the model's own tokens"), HasSubstr("{name: rouge2, unit: mecab}")));
}

TEST(JpLmeh, StrataNeedAsManyExamplesAsTheirShare) {
  PythonRandom random(kJpLmehSeed);
  const ExampleStrata strata({"a", "b", "b", "b", "b", "b"});
  EXPECT_THAT(strata.Draw(6, random).value(), testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(ExampleStrata({"a", "a", "a", "a", "b"}).Draw(4, random).value(), testing::Contains(4));  // 3.2 and 0.8
  ExpectError(ExampleStrata({"a", "b", "c"}).Draw(6, random), StatusCode::kInvalidArgument,
              HasSubstr("2 of 6 examples would be of a target that has 1"));
}

TEST(JpLmeh, AnExampleOfNoStratumIsToldWhereItStands) {
  BenchmarkSettings settings = SettingsOfRun(Lines(DataPath("jnli.golden.jsonl")).front());
  settings.few_shot.count = 2;
  settings.few_shot.data.reset();
  settings.few_shot.samples = {R"({"sentence1": "a", "sentence2": "b", "label": "neutral"})",
                               R"({"sentence1": "a", "sentence2": "b", "label": 7})"};
  ExpectError(Benchmark::Load(*ResolveBenchmark(settings)), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("few_shot.samples[1]: "), HasSubstr("target '7' is none of the 3 choices")));
}

// random.Random(42).shuffle(list(range(8))); numpy.random.seed(1234), numpy.random.choice(numpy.arange(10), 8).
TEST(PythonRandom, IsPythonsAndNumpys) {
  EXPECT_EQ(PythonRandom(42).Shuffled(8), (std::vector<uint32_t>{3, 4, 6, 7, 2, 5, 0, 1}));
  NumpyRandom numpy(1234);
  std::vector<uint32_t> drawn;
  for (int i = 0; i < 8; ++i) drawn.push_back(numpy.Choice(10));
  EXPECT_EQ(drawn, (std::vector<uint32_t>{3, 6, 5, 4, 8, 9, 1, 7}));
  EXPECT_EQ(numpy.Choice(1), 0u);
}

}  // namespace
}  // namespace merganser

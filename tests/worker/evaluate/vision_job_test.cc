// Benchmarks with pictures, and searches that merge plain language models into a model that sees.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/worker/evaluate/example_job.h"
#include "tests/worker/evaluate/seeing_model.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/evaluate/export.h"
#include "worker/evaluate/generate.h"
#include "worker/evaluate/image_feature_cache.h"
#include "worker/evaluate/local_evaluator.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const CandidateEvaluator::PhaseCallback kNoPhase = [](absl::string_view) {};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

class VisionJobTest : public testing::Test {
 protected:
  // The language model of the one that sees is as large as the example's, and has a row more.
  void SetUp() override {
    dir_ = testing::TempDir() + "/vision" + std::to_string(::getpid());
    WriteSeeingModel(dir_ + "/vlm");
    WriteSeeingBenchmark(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  JobSpec EvaluationOf(const std::string& model) const {
    JobSpec spec;
    spec.name = "evaluate";
    spec.models = {{"model", model}};
    spec.parameter.method = "linear";
    spec.parameter.sources = {"model"};
    spec.dtype = "float32";
    BenchmarkSpec seeing;
    seeing.name = "seeing";
    seeing.use = dir_ + "/seeing.yaml";
    spec.benchmarks = {seeing};
    return spec;
  }

  // A Japanese and a mathematical language model merged into the one that sees.
  JobSpec Search() const {
    JobSpec spec = EvaluationOf(dir_ + "/vlm");
    spec.models = {{"ja", ExampleDir() + "/ja", "", {{"", "language_model."}}},
                   {"math", ExampleDir() + "/math-en", "", {{"", "language_model."}}},
                   {"vlm", dir_ + "/vlm"}};
    spec.parameter.base = "math";
    spec.parameter.method = "dare_linear";
    spec.parameter.sources = {"ja", "vlm"};
    return spec;
  }

  static Recipe RecipeOf(const JobSpec& spec) {
    Recipe recipe;
    recipe.models = spec.models;
    recipe.tokenizer_from = recipe.config_from = recipe.vocabulary_from = "vlm";
    recipe.dtype = spec.dtype;
    recipe.mask_seed = 5;
    return recipe;
  }

  static std::vector<std::string> Completions(const absl::StatusOr<Evaluation>& evaluation) {
    EXPECT_TRUE(evaluation.ok()) << evaluation.status();
    std::vector<std::string> texts;
    if (!evaluation.ok()) return texts;
    for (const SampleOutcome& sample : evaluation->results.at(0).samples) texts.push_back(sample.completion);
    return texts;
  }

  static std::vector<std::string> Evaluate(const JobSpec& spec, const Recipe& recipe) {
    LocalEvaluator evaluator(CpuOptions());
    return Completions(evaluator.Evaluate(spec, recipe, {"seeing"}, kNoPhase, {}));
  }

  // What an export of `recipe` answers.
  std::vector<std::string> Exported(const Recipe& recipe) {
    ExportRequest request;
    request.recipe = recipe;
    request.out_dir = dir_ + "/exported";
    request.overwrite = true;
    const auto facts = ExportRecipe(request, CpuOptions(), {});
    EXPECT_TRUE(facts.ok()) << facts.status();
    return Evaluate(EvaluationOf(request.out_dir), CopyOfModel(request.out_dir));
  }

  static Recipe CopyOfModel(const std::string& dir) {
    Recipe recipe;
    recipe.models = {{"model", dir}};
    recipe.stacks = {{.name = "model", .sources = {"model"}}};
    recipe.tokenizer_from = "model";
    recipe.dtype = "float32";
    return recipe;
  }

  absl::Status PrepareError(const JobSpec& spec) const {
    LocalEvaluator evaluator(CpuOptions());
    return evaluator.Prepare(spec, kNoPhase, {}).status();
  }

  std::string dir_;
};

TEST_F(VisionJobTest, AnEvaluationAnswersAsGenerateDoes) {
  const std::vector<std::string> completions = Evaluate(EvaluationOf(dir_ + "/vlm"), CopyOfModel(dir_ + "/vlm"));
  ASSERT_EQ(completions.size(), 4u);
  const char* const pictures[] = {"rocket.jpg", "page.png", "rocket.jpg", "page.png"};
  const char* const questions[] = {"これは何ですか。", "これは何ですか。", "何色ですか。", "What is it?"};
  for (size_t i = 0; i < 4; ++i) {
    GenerateRequest request{dir_ + "/vlm", questions[i]};
    request.images = {dir_ + "/images/" + pictures[i]};
    request.max_new_tokens = 8;
    const auto answer = GenerateOnce(request, CpuOptions(), {});
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(completions[i], answer->text) << i;
  }
  EXPECT_NE(completions[0], completions[1]);
}

TEST_F(VisionJobTest, FeaturesAreKeptUpToABoundAndAnswersDoNotDependOnIt) {
  const JobSpec spec = EvaluationOf(dir_ + "/vlm");
  LocalEvaluator evaluator(CpuOptions());
  const auto facts = evaluator.Prepare(spec, kNoPhase, {});
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_GT(facts->prompt_tokens.at("seeing"), 4 * 16);  // at least the whole picture's patches each time
  const auto kept = Completions(evaluator.Evaluate(spec, CopyOfModel(dir_ + "/vlm"), {"seeing"}, kNoPhase, {}));

  setenv("MERGANSER_IMAGE_CACHE_MIB", "0", 1);
  LocalEvaluator forgetful(CpuOptions());
  const auto fewer = forgetful.Prepare(spec, kNoPhase, {});
  const auto anew = Completions(forgetful.Evaluate(spec, CopyOfModel(dir_ + "/vlm"), {"seeing"}, kNoPhase, {}));
  setenv("MERGANSER_IMAGE_CACHE_MIB", "many", 1);
  const absl::Status refused = PrepareError(spec);
  unsetenv("MERGANSER_IMAGE_CACHE_MIB");
  EXPECT_EQ(anew, kept);
  ASSERT_TRUE(fewer.ok()) << fewer.status();
  EXPECT_LT(fewer->candidate_bytes, facts->candidate_bytes);
  EXPECT_THAT(Message(refused), HasSubstr("MERGANSER_IMAGE_CACHE_MIB: 'many'"));
}

TEST_F(VisionJobTest, APictureIsEncodedOnceWhileThereIsRoom) {
  const auto checkpoint = Checkpoint::Open(dir_ + "/vlm");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string rocket = dir_ + "/images/rocket.jpg", page = dir_ + "/images/page.png";
  const auto roomy = ImageFeatureCache::Create(*checkpoint, "cpu", int64_t{1} << 30);
  ASSERT_TRUE(roomy.ok()) << roomy.status();
  const auto first = (*roomy)->Get(rocket), again = (*roomy)->Get(rocket);
  ASSERT_TRUE(first.ok() && again.ok()) << first.status();
  EXPECT_EQ(first->get(), again->get());
  EXPECT_EQ((*roomy)->Rows(rocket).value(), (*first)->rows);
  EXPECT_EQ((*roomy)->encoded(), 1);
  EXPECT_EQ((*roomy)->bytes(), static_cast<int64_t>((*first)->values.size() * sizeof(float)));

  // Room for the first only.
  const auto tight = ImageFeatureCache::Create(*checkpoint, "cpu", (*roomy)->bytes());
  ASSERT_TRUE(tight.ok()) << tight.status();
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ((*tight)->Get(rocket).value()->values, (*first)->values);
    EXPECT_TRUE((*tight)->Get(page).ok());
  }
  EXPECT_EQ((*tight)->images(), 2);
  EXPECT_EQ((*tight)->encoded(), 1 + 3);
  EXPECT_EQ((*tight)->bytes(), (*roomy)->bytes());
  EXPECT_GT((*tight)->seconds(), 0);
}

// What is scored in memory is what is written: masks, rows that a plain model lacks, vision side and all.
TEST_F(VisionJobTest, AMergedCandidateAnswersAsItsExportDoes) {
  const JobSpec spec = Search();
  Recipe recipe = RecipeOf(spec);
  Stack stack{.name = "merge", .method = "dare_linear", .base = "math", .sources = {"ja", "vlm"}};
  stack.settings = {{{}, {{{"weight", 0.4}, {"density", 0.7}}, {{"weight", 0.9}, {"density", 0.8}}}, {}}};
  recipe.stacks = {stack};
  const std::vector<std::string> scored = Evaluate(spec, recipe);
  EXPECT_EQ(Exported(recipe), scored);
  EXPECT_NE(Evaluate(EvaluationOf(dir_ + "/vlm"), CopyOfModel(dir_ + "/vlm")), scored);
}

TEST_F(VisionJobTest, APathThroughPlainAndSeeingModelsAnswersAsItsExportDoes) {
  const JobSpec spec = Search();
  Recipe recipe = RecipeOf(spec);
  // The embedding is a plain model's, so the vision side comes from elsewhere.
  recipe.stacks = {{.name = "ja", .sources = {"ja"}}, {.name = "vlm", .sources = {"vlm"}}};
  recipe.path = {{0, 0, 1.0}, {1, 1, 1.0}, {1, 2, 0.5}, {0, 4, 1.0}, {1, 4, 1.0}, {1, 5, 1.0}, {0, 5, 1.0}};
  recipe.head_from = "vlm";
  EXPECT_EQ(Exported(recipe), Evaluate(spec, recipe));
}

TEST_F(VisionJobTest, APlainSourceBecomesAModelThatSees) {
  const JobSpec spec = Search();
  Recipe recipe = RecipeOf(spec);
  recipe.stacks = {{.name = "ja", .sources = {"ja"}}};
  EXPECT_EQ(Exported(recipe), Evaluate(spec, recipe));
  const auto exported = Checkpoint::Open(dir_ + "/exported");
  ASSERT_TRUE(exported.ok()) << exported.status();
  EXPECT_EQ((*exported)->config().architecture, "LlavaNextForConditionalGeneration");
  EXPECT_EQ((*exported)->config().vocab_size, 1025);
}

TEST_F(VisionJobTest, WhatAJobMustSayIsAskedFor) {
  JobSpec spec = Search();
  spec.models[0].rename.clear();
  spec.models.erase(spec.models.begin() + 1);  // and no other part
  spec.parameter.base.clear();
  spec.parameter.sources = {"vlm", "ja"};
  EXPECT_THAT(Message(PrepareError(spec)), AllOf(HasSubstr("models.ja"), HasSubstr("rename: {\"\": \"language_model.\"}")));
  spec = Search();
  spec.models[0].rename = {{"", "text."}};
  EXPECT_THAT(Message(PrepareError(spec)), AllOf(HasSubstr("models.ja"), HasSubstr("has no tensor 'language_model.model")));
}

// The language model rotates otherwise and sees a window: a job says whose settings its candidates have, and their exports
// have them.
TEST_F(VisionJobTest, SettingsThatDifferAreTakenFromTheModelThatTheJobNames) {
  fs::copy(ExampleDir() + "/ja", dir_ + "/near");
  nlohmann::json config = nlohmann::json::parse(ReadFile(dir_ + "/near/config.json").value());
  config["rope_theta"] = 300.0;
  config["sliding_window"] = 24;
  std::ofstream(dir_ + "/near/config.json") << config.dump();
  JobSpec spec = Search();
  spec.models[0].path = dir_ + "/near";
  EXPECT_THAT(Message(PrepareError(spec)), AllOf(HasSubstr("near/config.json: rope_theta is 300 but 10000 in"),
                                                 HasSubstr("write `config_from: vlm` or `config_from: ja`")));

  std::map<std::string, std::vector<std::string>> answers;
  for (const std::string owner : {"vlm", "ja"}) {
    spec.config_from = owner;
    Recipe recipe = RecipeOf(spec);
    recipe.config_from = owner;
    recipe.stacks = {{.name = "ja", .sources = {"ja"}}};
    answers[owner] = Evaluate(spec, recipe);
    EXPECT_EQ(Exported(recipe), answers[owner]) << owner;
    const auto exported = Checkpoint::Open(dir_ + "/exported");
    ASSERT_TRUE(exported.ok()) << exported.status();
    EXPECT_EQ((*exported)->config().architecture, "LlavaNextForConditionalGeneration");
    EXPECT_EQ((*exported)->config().rope_theta, owner == "ja" ? 300 : 10000);
    EXPECT_EQ((*exported)->config().sliding_window.value_or(0), owner == "ja" ? 24 : 0);
  }
  EXPECT_NE(answers["ja"], answers["vlm"]);

  config["num_attention_heads"] = 8;
  config["head_dim"] = 16;
  config["num_key_value_heads"] = 4;
  std::ofstream(dir_ + "/near/config.json") << config.dump();
  EXPECT_THAT(Message(PrepareError(spec)),
              AllOf(HasSubstr("num_attention_heads is 8 but 4"), HasSubstr("cannot be merged")));
}

TEST_F(VisionJobTest, ErrorsNameModelSampleAndFile) {
  EXPECT_THAT(Message(PrepareError(EvaluationOf(ExampleDir() + "/ja"))),
              AllOf(HasSubstr("benchmarks.seeing"), HasSubstr("does not see")));
  fs::remove(dir_ + "/images/page.png");
  EXPECT_THAT(Message(PrepareError(EvaluationOf(dir_ + "/vlm"))),
              AllOf(HasSubstr("sample 2 (line 2)"), HasSubstr("page.png")));
  std::ofstream(dir_ + "/samples.jsonl") << R"({"image": "images/rocket.jpg", "question": "<image>?", "answer": ""})"
                                         << "\n";
  EXPECT_THAT(Message(PrepareError(EvaluationOf(dir_ + "/vlm"))),
              AllOf(HasSubstr("samples.jsonl"), HasSubstr("2 <image> marks")));
}

}  // namespace
}  // namespace merganser

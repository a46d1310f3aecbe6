// Searches over several models that see: their vision towers and projectors are merged like the rest, or left out by
// `rename`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/worker/evaluate/seeing_model.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/evaluate/export.h"
#include "worker/evaluate/image_feature_cache.h"
#include "worker/evaluate/local_evaluator.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Answers = std::vector<std::string>;

const CandidateEvaluator::PhaseCallback kNoPhase = [](absl::string_view) {};

// Weights in turn 1.25 and 0.75 times what they were, as tests/golden/seeing_merge_goldens.py has it.
void ChangeWeights(const std::string& path) {
  std::string file = ReadFile(path).value();
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  const nlohmann::json tensors = nlohmann::json::parse(file.substr(8, header));
  for (const auto& [name, tensor] : tensors.items()) {
    if (name == "__metadata__") continue;
    const size_t first = tensor["data_offsets"][0], end = tensor["data_offsets"][1];
    for (size_t i = 0; i < (end - first) / sizeof(float); ++i) {
      char* const at = file.data() + 8 + header + first + i * sizeof(float);
      float value = 0;
      std::memcpy(&value, at, sizeof value);
      value *= i % 2 == 0 ? 1.25f : 0.75f;
      std::memcpy(at, &value, sizeof value);
    }
  }
  std::ofstream(path, std::ios::binary) << file;
}

class SeeingMergeTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/seeing_merge" + std::to_string(::getpid());
    WriteSeeingModel(dir_ + "/vlm");
    WriteSeeingModel(dir_ + "/other");
    ChangeWeights(dir_ + "/other/model.safetensors");
    WriteSeeingBenchmark(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  JobSpec Search() const {
    JobSpec spec;
    spec.name = "see";
    spec.models = {{"other", dir_ + "/other"}, {"vlm", dir_ + "/vlm"}};
    spec.parameter.method = "linear";
    spec.parameter.sources = {"vlm", "other"};
    spec.parameter.bounds["weight"] = {0, 1};
    spec.dtype = "float32";
    BenchmarkSpec seeing;
    seeing.name = "seeing";
    seeing.use = dir_ + "/seeing.yaml";
    spec.benchmarks = {seeing};
    return spec;
  }

  // With a Japanese and a mathematical language model beside them.
  JobSpec SearchWithParts() const {
    JobSpec spec = Search();
    spec.models = {{"ja", ExampleDir() + "/ja", "", {{"", "language_model."}}},
                   {"math", ExampleDir() + "/math-en", "", {{"", "language_model."}}},
                   {"other", dir_ + "/other"},
                   {"vlm", dir_ + "/vlm"}};
    spec.parameter.method = "dare_linear";
    spec.parameter.base = "vlm";
    spec.parameter.sources = {"ja", "other"};
    return spec;
  }

  static Recipe RecipeOf(const JobSpec& spec, Stack stack) {
    Recipe recipe;
    recipe.models = spec.models;
    recipe.tokenizer_from = recipe.config_from = recipe.vocabulary_from = "vlm";
    recipe.dtype = spec.dtype;
    recipe.mask_seed = 5;
    recipe.stacks = {std::move(stack)};
    return recipe;
  }
  static Recipe CopyOf(const JobSpec& spec, const std::string& model) {
    return RecipeOf(spec, {.name = model, .sources = {model}});
  }
  static Recipe Average(const JobSpec& spec) {
    Stack stack{.name = "merged", .method = "linear", .sources = {"vlm", "other"}};
    stack.settings = {{{}, {{{"weight", 0.5}}, {{"weight", 0.5}}}, {}}};
    return RecipeOf(spec, stack);
  }
  // Tower, projector and the rest with weights of their own for ja and other.
  static Recipe Grouped(const JobSpec& spec, double tower, double projector) {
    Stack stack{.name = "merged", .method = "dare_linear", .base = "vlm", .sources = {"ja", "other"}};
    const auto group = [](const std::string& filter, double ja, double other) {
      return GroupSettings{{.name = filter, .filter = filter},
                           {{{"weight", ja}, {"density", 0.7}}, {{"weight", other}, {"density", 0.8}}},
                           {}};
    };
    stack.settings = {group("vision_tower", 0.9, tower), group("multi_modal_projector", 0.9, projector),
                      group("", 0.3, 0.4)};
    return RecipeOf(spec, stack);
  }

  static Answers AnswersOf(LocalEvaluator& evaluator, const JobSpec& spec, const Recipe& recipe) {
    const auto evaluation = evaluator.Evaluate(spec, recipe, {"seeing"}, kNoPhase, {});
    EXPECT_TRUE(evaluation.ok()) << evaluation.status();
    Answers answers;
    if (!evaluation.ok()) return answers;
    for (const SampleOutcome& sample : evaluation->results.at(0).samples) answers.push_back(sample.completion);
    return answers;
  }

  // What an export of `recipe`, which stays in dir_/exported, answers.
  Answers Exported(const Recipe& recipe) {
    ExportRequest request;
    request.recipe = recipe;
    request.out_dir = dir_ + "/exported";
    request.overwrite = true;
    const auto facts = ExportRecipe(request, CpuOptions(), {});
    EXPECT_TRUE(facts.ok()) << facts.status();
    JobSpec spec = Search();
    spec.models = {{"vlm", request.out_dir}};
    spec.parameter.sources = {"vlm"};
    LocalEvaluator evaluator(CpuOptions());
    return AnswersOf(evaluator, spec, CopyOf(spec, "vlm"));
  }

  std::string PrepareError(const JobSpec& spec) const {
    LocalEvaluator evaluator(CpuOptions());
    return std::string(evaluator.Prepare(spec, kNoPhase, {}).status().message());
  }

  static bool SameBytes(const Checkpoint& a, const Checkpoint& b, const std::string& tensor) {
    return a.Find(tensor)->data == b.Find(tensor)->data;
  }

  std::string dir_;
};

TEST_F(SeeingMergeTest, ACandidateSeesWithMergedEyesAsTransformersDoes) {
  const auto golden =
      nlohmann::json::parse(ReadFile(MG_SOURCE_DIR "/tests/worker/evaluate/testdata/seeing_merge.json").value());
  const JobSpec spec = Search();
  LocalEvaluator evaluator(CpuOptions());
  EXPECT_EQ(AnswersOf(evaluator, spec, CopyOf(spec, "vlm")), golden["vlm"].get<Answers>());
  EXPECT_EQ(AnswersOf(evaluator, spec, Average(spec)), golden["average"].get<Answers>());
  EXPECT_EQ(AnswersOf(evaluator, spec, CopyOf(spec, "other")), golden["other"].get<Answers>());
  EXPECT_EQ(AnswersOf(evaluator, spec, Average(spec)), golden["average"].get<Answers>());
  EXPECT_EQ(Exported(Average(spec)), golden["average"].get<Answers>());
}

TEST_F(SeeingMergeTest, TowerAndProjectorAreMergedOfTheModelsThatSeeByTheirOwnWeights) {
  const JobSpec spec = SearchWithParts();
  LocalEvaluator evaluator(CpuOptions());
  const auto answers = [&](double tower, double projector) {
    const Recipe recipe = Grouped(spec, tower, projector);
    const Answers own = AnswersOf(evaluator, spec, recipe);
    EXPECT_EQ(Exported(recipe), own) << tower << ", " << projector;
    return own;
  };
  const Answers frozen = answers(0, 0);
  const auto vlm = Checkpoint::Open(dir_ + "/vlm"), kept = Checkpoint::Open(dir_ + "/exported");
  ASSERT_TRUE(vlm.ok() && kept.ok()) << kept.status();
  const std::string tower = "vision_tower.encoder.layers.0.mlp.fc1.weight";
  const std::string projector = "multi_modal_projector.linear_1.weight";
  EXPECT_TRUE(SameBytes(**vlm, **kept, tower));
  EXPECT_NE(answers(0.9, 0), frozen);
  const auto changed = Checkpoint::Open(dir_ + "/exported");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_FALSE(SameBytes(**vlm, **changed, tower));
  EXPECT_TRUE(SameBytes(**vlm, **changed, projector));
  EXPECT_NE(answers(0, 0.9), frozen);
}

TEST_F(SeeingMergeTest, EyesThatNoRuleOfRenameNamesAreLeftOut) {
  JobSpec spec = Search();
  spec.models[0].rename = {{"language_model.", "language_model."}};
  const Recipe recipe = Average(spec);
  LocalEvaluator evaluator(CpuOptions());
  EXPECT_EQ(AnswersOf(evaluator, spec, recipe), Exported(recipe));
  const auto vlm = Checkpoint::Open(dir_ + "/vlm"), exported = Checkpoint::Open(dir_ + "/exported");
  ASSERT_TRUE(vlm.ok() && exported.ok()) << exported.status();
  for (const TensorView& tensor : (*vlm)->tensors()) {
    const bool language = absl::StartsWith(tensor.name, "language_model.");
    EXPECT_EQ(SameBytes(**vlm, **exported, tensor.name), !language) << tensor.name;
  }
  // The projector too, and not the tower.
  spec.models[0].rename["multi_modal_projector."] = "multi_modal_projector.";
  const Recipe with_projector = Average(spec);
  EXPECT_EQ(AnswersOf(evaluator, spec, with_projector), Exported(with_projector));
  const auto second = Checkpoint::Open(dir_ + "/exported");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(SameBytes(**vlm, **second, "multi_modal_projector.linear_1.weight"));
  EXPECT_TRUE(SameBytes(**vlm, **second, "vision_tower.encoder.layers.0.mlp.fc1.weight"));
}

TEST_F(SeeingMergeTest, APathSeesWithTheEyesOfTheModelWhoseEmbeddingItHas) {
  const JobSpec spec = SearchWithParts();
  Recipe recipe = CopyOf(spec, "ja");
  recipe.stacks = {{.name = "other", .sources = {"other"}}, {.name = "ja", .sources = {"ja"}}};
  recipe.path = {{0, 0, 1.0}, {1, 1, 1.0}, {0, 2, 1.0}, {1, 3, 1.0}, {0, 4, 1.0}, {0, 5, 1.0}};
  LocalEvaluator evaluator(CpuOptions());
  EXPECT_EQ(AnswersOf(evaluator, spec, recipe), Exported(recipe));
  const auto other = Checkpoint::Open(dir_ + "/other"), exported = Checkpoint::Open(dir_ + "/exported");
  ASSERT_TRUE(other.ok() && exported.ok()) << exported.status();
  EXPECT_TRUE(SameBytes(**other, **exported, "multi_modal_projector.linear_1.weight"));
}

TEST_F(SeeingMergeTest, WhatCannotBeMergedIsToldBeforeTheSearch) {
  JobSpec spec = SearchWithParts();
  EXPECT_EQ(PrepareError(spec), "");
  spec.parameter.base = "math";
  spec.parameter.sources = {"ja", "other", "vlm"};
  EXPECT_THAT(PrepareError(spec), AllOf(HasSubstr("space.parameter: stack 'merged': tensor 'image_newline'"),
                                        HasSubstr("'other"), HasSubstr("not in the base 'math', a part of a model")));
  spec.models[2].rename = {{"language_model.", "language_model."}};
  EXPECT_EQ(PrepareError(spec), "");

  const std::string path = dir_ + "/other/config.json";
  nlohmann::json config = nlohmann::json::parse(ReadFile(path).value());
  config["vision_feature_layer"] = -1;
  std::ofstream(path) << config.dump();
  EXPECT_EQ(PrepareError(spec), "");  // its eyes are left out
  spec = Search();
  EXPECT_THAT(PrepareError(spec),
              AllOf(HasSubstr("models.other.path: "), HasSubstr("other/config.json: vision_feature_layer is -1 but -2"),
                    HasSubstr("('vlm')")));
  // A language model that forgot its `rename`, and comes first.
  spec = Search();
  spec.models = {{"ja", ExampleDir() + "/ja"}, {"vlm", dir_ + "/vlm"}};
  spec.parameter.sources = {"ja", "vlm"};
  EXPECT_THAT(PrepareError(spec),
              AllOf(HasSubstr("models.vlm.path: "), HasSubstr("sees and "), HasSubstr("('ja') does not")));
}

TEST_F(SeeingMergeTest, PicturesAreToldApartByContentAndTheLatestAreKept) {
  const auto checkpoint = Checkpoint::Open(dir_ + "/vlm");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  fs::copy_file(Picture("rocket.jpg"), dir_ + "/images/again.jpg");
  const auto cache = ImageFeatureCache::Create(*checkpoint, "cpu", int64_t{1} << 30);
  ASSERT_TRUE(cache.ok()) << cache.status();
  const auto first = (*cache)->Get(dir_ + "/images/rocket.jpg"), again = (*cache)->Get(dir_ + "/images/again.jpg");
  const auto bytes = (*cache)->See(ReadFile(Picture("rocket.jpg")).value());
  ASSERT_TRUE(first.ok() && again.ok() && bytes.ok()) << first.status();
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(*first, *bytes);
  EXPECT_EQ((*cache)->encoded(), 1);
  EXPECT_EQ((*cache)->images(), 1);

  // Room for about one picture.
  const std::string rocket = ReadFile(Picture("rocket.jpg")).value(), page = ReadFile(Picture("page.png")).value();
  const auto latest =
      ImageFeatureCache::Create(*checkpoint, "cpu", (*cache)->bytes() * 5 / 4, ImageFeatureCache::Keeping::kLatest);
  ASSERT_TRUE(latest.ok()) << latest.status();
  for (const std::string* picture : {&rocket, &rocket, &page, &page, &rocket}) EXPECT_TRUE((*latest)->See(*picture).ok());
  EXPECT_EQ((*latest)->encoded(), 3);
  EXPECT_EQ((*latest)->kept(), 1);
  EXPECT_LE((*latest)->bytes(), (*latest)->bytes_max());
}

TEST_F(SeeingMergeTest, FeaturesOfAMergedSideGoWithIt) {
  const auto vlm = Checkpoint::Open(dir_ + "/vlm"), other = Checkpoint::Open(dir_ + "/other");
  ASSERT_TRUE(vlm.ok() && other.ok()) << other.status();
  const auto cache = ImageFeatureCache::Create(*vlm, "cpu", int64_t{1} << 30);
  ASSERT_TRUE(cache.ok()) << cache.status();
  ImageFeatureCache& images = **cache;
  const std::string rocket = dir_ + "/images/rocket.jpg", page = dir_ + "/images/page.png";
  const auto own = images.Get(rocket);
  ASSERT_TRUE(own.ok()) << own.status();
  const auto use = [&](const std::string& side, bool lasting, const std::shared_ptr<const Checkpoint>& model) {
    images.Use(side, lasting, [model] { return VisionModel::Load(model, "cpu"); });
  };
  use("merged", /*lasting=*/false, *other);
  EXPECT_NE(images.Get(rocket).value()->values, (*own)->values);
  EXPECT_EQ(images.Rows(rocket).value(), (*own)->rows);
  EXPECT_TRUE(images.Get(page).ok());
  EXPECT_EQ(images.kept(), 3);
  use((*vlm)->dir(), /*lasting=*/true, *vlm);
  EXPECT_EQ(images.kept(), 1);
  EXPECT_EQ(images.Get(rocket).value(), *own);
  EXPECT_EQ(images.encoded(), 3);
}

}  // namespace
}  // namespace merganser

#include "worker/evaluate/candidate_model.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"
#include "worker/device_merge/device_merger.h"
#include "worker/engine/decoder.h"

namespace merganser {
namespace {

class CandidateModelTest : public testing::Test {
 protected:
  void SetUp() override {
    auto checkpoints = OpenModels(ExampleJob().models, {});
    ASSERT_TRUE(checkpoints.ok()) << checkpoints.status();
    checkpoints_ = *std::move(checkpoints);
    auto layout = MergedLayout(checkpoints_.at("base")->config(), *checkpoints_.at("base"), "bfloat16");
    ASSERT_TRUE(layout.ok());
    layout_ = std::make_unique<ArenaLayout>(*layout);
    auto sources = MergeSources::Create(checkpoints_, *layout_);
    ASSERT_TRUE(sources.ok()) << sources.status();
    auto materializer = Materializer::Create(*std::move(sources), {});
    ASSERT_TRUE(materializer.ok()) << materializer.status();
    materializer_ = *std::move(materializer);
    model_ = std::make_unique<CandidateModel>(checkpoints_, *materializer_, *layout_);
    EngineOptions options{.threads = 1};
    options.max_length = 64;
    options.max_path_length = 64;
    auto decoder = Decoder::Create(checkpoints_.at("base")->config(), options);
    ASSERT_TRUE(decoder.ok());
    decoder_ = *std::move(decoder);
  }

  // Two plain stacks, `ja` and `math`, and the merge of the published recipe.
  Recipe ThreeStacks(std::vector<Hop> path) const {
    Recipe recipe = EvolvedRecipe();
    recipe.stacks.insert(recipe.stacks.begin(), {Stack{"ja", "", "", {"ja"}, {}}, Stack{"math", "", "", {"math"}, {}}});
    recipe.path = std::move(path);
    return recipe;
  }

  std::vector<float> Logits(const Recipe& recipe) {
    const auto weights = model_->Materialize(recipe, {});
    EXPECT_TRUE(weights.ok()) << weights.status();
    if (!weights.ok()) return {};
    const absl::Status loaded = decoder_->LoadWeights(*weights);
    EXPECT_TRUE(loaded.ok()) << loaded;
    auto logits = decoder_->Logits({1, 314, 858, 496, 538, 830});
    EXPECT_TRUE(logits.ok()) << logits.status();
    return logits.ok() ? *logits : std::vector<float>{};
  }

  CheckpointMap checkpoints_;
  std::unique_ptr<ArenaLayout> layout_;
  std::unique_ptr<Materializer> materializer_;
  std::unique_ptr<CandidateModel> model_;
  std::unique_ptr<Decoder> decoder_;
};

std::vector<Hop> InOrder(int stack) {
  std::vector<Hop> path;
  for (int i = 0; i < 6; ++i) path.push_back({stack, i, 1.0});
  return path;
}

TEST_F(CandidateModelTest, PathOfOneSourceIsThatSource) {
  const std::vector<float> whole = Logits(CopyOf("ja"));
  EXPECT_EQ(Logits(ThreeStacks(InOrder(0))), whole);
  std::vector<Hop> half = InOrder(0);
  half[3].stack = 1;
  EXPECT_NE(Logits(ThreeStacks(half)), whole);
}

TEST_F(CandidateModelTest, SourcesStayWhereTheyAreAndEqualMergesAreKept) {
  const auto ids = [&](const Recipe& recipe) {
    std::vector<uint64_t> result;
    const auto weights = model_->Materialize(recipe, {});
    EXPECT_TRUE(weights.ok()) << weights.status();
    for (const ModelWeights::Stack& stack : weights->stacks) result.push_back(stack.source->constant_id());
    return result;
  };
  std::vector<Hop> path = InOrder(0);
  path[2].stack = 1;
  path[3].stack = 2;
  const auto first = ids(ThreeStacks(path));
  ASSERT_EQ(first.size(), 3u);
  path[4] = {2, 1, 0.5};
  EXPECT_EQ(ids(ThreeStacks(path)), first);  // another path: nothing was merged or copied again
  Recipe other = ThreeStacks(path);
  for (auto& [name, value] : other.stacks[2].settings.at(0).source_parameters.at(0)) value += 0.25;
  const auto second = ids(other);
  EXPECT_EQ(second[0], first[0]);
  EXPECT_EQ(second[1], first[1]);
  EXPECT_NE(second[2], first[2]);
}

TEST_F(CandidateModelTest, MergedStackInAPathIsTheMerge) {
  Recipe merged = EvolvedRecipe();
  const std::vector<float> alone = Logits(merged);
  Recipe in_path = ThreeStacks(InOrder(2));
  // The embedding and the head are those of the first stack, so it is the merge here.
  std::swap(in_path.stacks[0], in_path.stacks[2]);
  for (Hop& hop : in_path.path) hop.stack = 0;
  EXPECT_EQ(Logits(in_path), alone);
}

TEST_F(CandidateModelTest, ADevicesMergeIsThatOfTheHost) {
  const std::vector<Hop> path = InOrder(2);
  const std::vector<float> host = Logits(EvolvedRecipe()), host_in_path = Logits(ThreeStacks(path));
  EXPECT_EQ(model_->traffic(), MergeTraffic{});
  int64_t bytes = 0;  // of sources that the merge reads
  for (const char* name : {"base", "ja", "math"}) bytes += checkpoints_.at(name)->TotalBytes();
  for (const int64_t resident : {int64_t{0}, bytes}) {
    model_ = std::make_unique<CandidateModel>(checkpoints_, *materializer_, *layout_);
    auto merger = DeviceMerger::Create(*materializer_, {.device = "cpu", .resident_bytes_max = resident});
    ASSERT_TRUE(merger.ok()) << merger.status();
    model_->MergeOn(*std::move(merger));
    EXPECT_EQ(Logits(EvolvedRecipe()), host);
    EXPECT_EQ(model_->traffic().needed, bytes + layout_->TotalBytes());
    EXPECT_EQ(model_->traffic().host_to_device, resident == 0 ? bytes : 0);
    EXPECT_EQ(model_->merged_bytes(), layout_->TotalBytes());
    EXPECT_EQ(Logits(ThreeStacks(path)), host_in_path);
    EXPECT_EQ(Logits(ThreeStacks(path)), host_in_path);  // nothing is merged again
    EXPECT_EQ(model_->traffic(), MergeTraffic{});
  }
}

TEST_F(CandidateModelTest, EmbeddingAndHeadAreThoseOfTheStacksThatAreNamed) {
  // All layers of `ja` (stack 0); stack 1 is `math`.
  Recipe recipe = ThreeStacks(InOrder(0));
  const std::vector<float> ja = Logits(recipe);
  recipe.embedding_from = "math";
  const std::vector<float> other_embedding = Logits(recipe);
  recipe.head_from = "math";
  const std::vector<float> both = Logits(recipe);
  recipe.embedding_from = "ja";
  const std::vector<float> other_head = Logits(recipe);
  EXPECT_NE(other_embedding, ja);
  EXPECT_NE(other_head, ja);
  EXPECT_NE(both, other_embedding);
  // The same model, said the other way round: the layers' stack is not the first.
  Recipe swapped = recipe;
  std::swap(swapped.stacks[0], swapped.stacks[1]);
  swapped.path = InOrder(1);
  swapped.embedding_from = swapped.head_from = "math";
  EXPECT_EQ(Logits(swapped), both);
  swapped.embedding_from = swapped.head_from = "";
  EXPECT_EQ(Logits(swapped), both);
  recipe.head_from = "mth";
  EXPECT_EQ(model_->Materialize(recipe, {}).status().message(), "head_from: the recipe has no stack 'mth'");
}

TEST_F(CandidateModelTest, WhatOnlyAnExportComputesIsRefusedByName) {
  const auto refusal = [&](const std::function<void(Recipe&)>& change) {
    Recipe recipe = EvolvedRecipe();
    change(recipe);
    const absl::Status status = model_->Materialize(recipe, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    return std::string(status.message());
  };
  using testing::StartsWith;
  EXPECT_THAT(refusal([](Recipe& r) { r.models[1].lora = "adapter"; }), StartsWith("models.ja.lora: "));
  EXPECT_THAT(refusal([](Recipe& r) { r.stacks[0].layer_offsets["ja"] = 1; }), StartsWith("stacks.merge.layer_offsets: "));
  EXPECT_THAT(refusal([](Recipe& r) { r.tokenizer.source = "union"; }), StartsWith("tokenizer: "));
  EXPECT_THAT(refusal([](Recipe& r) {
                r.stacks.push_back(Stack{"outer", "linear", "", {"merge", "ja"}, {}});
              }),
              StartsWith("stacks.outer.sources: 'merge' is a stack"));
}

TEST_F(CandidateModelTest, StackOutsideTheRecipeIsNamed) {
  std::vector<Hop> path = InOrder(0);
  path[1].stack = 3;
  EXPECT_EQ(model_->Materialize(ThreeStacks(path), {}).status().message(), "path[1].stack: 3 is not in [0, 2]");
  Recipe none;
  EXPECT_EQ(model_->Materialize(none, {}).status().message(), "stacks: the recipe has none");
}

}  // namespace
}  // namespace merganser

// What comes next is merged beside what is evaluated: the same weights, used, dropped, stopped, or not begun for want of
// room.
#include "worker/evaluate/models_ahead.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/evaluate/example_job.h"
#include "worker/device_merge/device_merger.h"
#include "worker/engine/decoder.h"
#include "worker/evaluate/merge_placement.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kPlenty = int64_t{1} << 40;

// The published recipe with one weight moved.
Recipe Moved(double by) {
  Recipe recipe = EvolvedRecipe();
  recipe.stacks[0].settings[3].source_parameters[0]["weight"] += by;
  return recipe;
}

Recipe Broken() {
  Recipe recipe = Moved(0);
  recipe.head_from = "mth";
  return recipe;
}

class ModelsAheadTest : public testing::Test {
 protected:
  void SetUp() override {
    checkpoints_ = *OpenModels(ExampleJob().models, {});
    layout_ = std::make_unique<ArenaLayout>(
        *MergedLayout(checkpoints_.at("base")->config(), *checkpoints_.at("base"), "bfloat16"));
    materializer_ = *Materializer::Create(*MergeSources::Create(checkpoints_, *layout_), {});
    EngineOptions options{.threads = 1};
    options.max_length = 64;
    decoder_ = *Decoder::Create(checkpoints_.at("base")->config(), options);
  }

  std::unique_ptr<CandidateModel> Model() {
    return std::make_unique<CandidateModel>(checkpoints_, *materializer_, *layout_);
  }
  ModelsAhead Ahead() {
    return ModelsAhead(Model(), [] { return kPlenty; });
  }

  std::vector<float> Logits(const absl::StatusOr<ModelWeights>& weights) {
    EXPECT_TRUE(weights.ok()) << weights.status();
    if (!weights.ok() || !decoder_->LoadWeights(*weights).ok()) return {};
    return *decoder_->Logits({1, 314, 858, 496, 538, 830});
  }
  // By one model alone.
  std::vector<float> Plain(const Recipe& recipe) { return Logits(Model()->Materialize(recipe, {})); }

  CheckpointMap checkpoints_;
  std::unique_ptr<ArenaLayout> layout_;
  std::unique_ptr<Materializer> materializer_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_F(ModelsAheadTest, WhatIsExpectedIsMergedAheadAndIsTheSameToTheBit) {
  std::vector<std::vector<float>> want;
  for (int i = 0; i < 5; ++i) want.push_back(Plain(Moved(0.25 * i)));
  for (const bool on_device : {false, true}) {
    auto model = Model();
    if (on_device) model->MergeOn(*DeviceMerger::Create(*materializer_, {.device = "cpu"}));
    ModelsAhead models(std::move(model), [] { return kPlenty; });
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(models.pending(), i > 0);
      const auto weights = models.Materialize(Moved(0.25 * i), {});
      EXPECT_EQ(models.merged_bytes(), layout_->TotalBytes());
      EXPECT_EQ(models.traffic().needed > 0, on_device);
      ASSERT_TRUE(decoder_->LoadWeights(*weights).ok());
      if (i % 2 == 0) models.Begin();  // told before or after it may begin: the same
      models.Expect(Moved(0.25 * (i + 1)));
      if (i % 2 == 1) models.Begin();
      EXPECT_EQ(*decoder_->Logits({1, 314, 858, 496, 538, 830}), want[i]) << i;  // while the next one is merged
    }
  }
}

TEST_F(ModelsAheadTest, AnotherCandidateThanTheExpectedDropsTheMerge) {
  const std::vector<float> other = Plain(Moved(0.5));
  ModelsAhead models = Ahead();
  EXPECT_NE(Logits(models.Materialize(Moved(0), {})), other);
  models.Begin();
  models.Expect(Moved(0.25));
  EXPECT_TRUE(models.pending());
  EXPECT_EQ(Logits(models.Materialize(Moved(0.5), {})), other);
  EXPECT_FALSE(models.pending());
}

TEST_F(ModelsAheadTest, WhatWasExpectedBeforeIsExpectedNoMore) {
  ModelsAhead models = Ahead();
  models.Expect(Moved(0.25));
  EXPECT_FALSE(models.pending());  // nothing is evaluated yet
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  EXPECT_FALSE(models.pending());
}

TEST_F(ModelsAheadTest, AMergeThatFailsIsAnErrorOnlyOfTheCandidateItself) {
  const std::vector<float> other = Plain(Moved(0.5));
  ModelsAhead models = Ahead();
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  models.Expect(Broken());
  EXPECT_EQ(models.Materialize(Broken(), {}).status().message(), "head_from: the recipe has no stack 'mth'");
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  models.Expect(Broken());
  EXPECT_EQ(Logits(models.Materialize(Moved(0.5), {})), other);
}

TEST_F(ModelsAheadTest, ACancelledCandidateLeavesNothingBehind) {
  const std::vector<float> want = Plain(Moved(0.25));
  ModelsAhead models = Ahead();
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  models.Expect(Moved(0.25));
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = models.Materialize(Moved(0.25), stop.get_token());  // unless the merge was done before
  if (!stopped.ok()) EXPECT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
  EXPECT_FALSE(models.pending());
  EXPECT_EQ(Logits(models.Materialize(Moved(0.25), {})), want);
}

TEST_F(ModelsAheadTest, ItMayGoWhileItMerges) {
  ModelsAhead models = Ahead();
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  models.Expect(Moved(0.25));
}

TEST_F(ModelsAheadTest, ASecondArenaIsMadeOnlyWhereThereIsRoomForIt) {
  int64_t room = layout_->TotalBytes() - 1;
  ModelsAhead models(Model(), [&] { return room; });
  const auto pending_behind = [&](double by, double next) {
    EXPECT_TRUE(models.Materialize(Moved(by), {}).ok());
    models.Begin();
    models.Expect(Moved(next));
    return models.pending();
  };
  EXPECT_FALSE(pending_behind(0, 0.25));
  room = layout_->TotalBytes();
  EXPECT_TRUE(pending_behind(0.25, 0.5));
  room = 0;  // both arenas are there
  EXPECT_TRUE(pending_behind(0.5, 0.75));
  EXPECT_TRUE(pending_behind(0.75, 1));
}

TEST_F(ModelsAheadTest, WhatNeedsNoMergeIsNotBegun) {
  ModelsAhead models = Ahead();
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  Recipe other_path = Moved(0);
  for (const int layer : {0, 1, 2, 3, 3, 4, 5}) other_path.path.push_back({0, layer, 1.0});
  models.Expect(other_path);
  EXPECT_FALSE(models.pending());
  models.Expect(CopyOf("ja"));
  EXPECT_FALSE(models.pending());
  models.Expect(Moved(0.25));
  EXPECT_TRUE(models.pending());
}

TEST_F(ModelsAheadTest, WithoutARoomToAskForNothingIsBegun) {
  ModelsAhead models(Model(), nullptr);
  ASSERT_TRUE(models.Materialize(Moved(0), {}).ok());
  models.Begin();
  models.Expect(Moved(0.25));
  EXPECT_FALSE(models.pending());
}

TEST(RoomAheadTest, AutoIsForGpus) {
  LocalOptions options;
  EXPECT_EQ(*RoomAhead(options, "cpu", 0), nullptr);
  EXPECT_NE(*RoomAhead(options, "cuda:0", 0), nullptr);
  options.merge_ahead = "off";
  EXPECT_EQ(*RoomAhead(options, "cuda:0", 0), nullptr);
  options.merge_ahead = "yes";
  EXPECT_THAT(std::string(RoomAhead(options, "cpu", 0).status().message()), HasSubstr("merge_ahead: unknown choice 'yes'"));
}

TEST(RoomAheadTest, WhereTheCpuMergesTheSourcesStayInMemory) {
  LocalOptions options;
  options.merge_ahead = "on";
  for (const char* device : {"cpu", "cuda:0"}) {
    options.merge = "host";
    EXPECT_GT((*RoomAhead(options, device, 0))(), 0) << device;
    EXPECT_LT((*RoomAhead(options, device, kPlenty))(), 0) << device;
  }
  options.merge = "device";
  EXPECT_GT((*RoomAhead(options, "cpu", 0))(), 0);
}

}  // namespace
}  // namespace merganser

#include "common/transfer/checkpoint_files.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::FreshDir;

TEST(CheckpointFileNameTest, DataOfACheckpointAndNothingElse) {
  for (const char* name : {"config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.model",
                           "merges.txt", "model.safetensors.index.json", "chat_template.jinja", "adapter_config.json"}) {
    EXPECT_TRUE(IsCheckpointFileName(name)) << name;
  }
  for (const char* name :
       {"", "pytorch_model.bin", "modeling_x.py", "../model.safetensors", "a/model.safetensors", ".safetensors",
        "/etc/passwd", "model.safetensors\n", "trainer_state.json", "training_args.bin", "..safetensors"}) {
    EXPECT_FALSE(IsCheckpointFileName(name)) << name;
  }
}

TEST(NeededFilesTest, OneFormOfTheWeights) {
  EXPECT_THAT(NeededFiles({"model.safetensors", "consolidated.safetensors", "config.json", "x.py"}),
              ElementsAre("config.json", "model.safetensors"));
  EXPECT_THAT(NeededFiles({"adapter_model.safetensors", "adapter_config.json"}),
              ElementsAre("adapter_config.json", "adapter_model.safetensors"));
}

TEST(ContentTest, IsThatOfTheFilesWhereverTheyLie) {
  const std::string dir = FreshDir("content");
  WriteCheckpoint(dir + "/a", 1 << 20, 1);
  WriteCheckpoint(dir + "/same", 1 << 20, 1);
  WriteCheckpoint(dir + "/tuned", 1 << 20, 2);
  fs::remove(dir + "/same/pytorch_model.bin");  // no part of it
  const std::string content = *CheckpointContent(dir + "/a");
  EXPECT_EQ(content.size(), 64u);
  EXPECT_EQ(*CheckpointContent(dir + "/same"), content);
  EXPECT_NE(*CheckpointContent(dir + "/tuned"), content) << "the same config and tensors, other weights";
  WriteAll(dir + "/same/tokenizer.json", R"({"version": "2.0"})");
  EXPECT_NE(*CheckpointContent(dir + "/same"), content);
}

TEST(ContentTest, ADamagedCheckpointHasNone) {
  const std::string dir = FreshDir("content_bad");
  EXPECT_TRUE(absl::IsNotFound(CheckpointContent(dir + "/nothing").status()));
  WriteCheckpoint(dir + "/a", 1000, 1);
  fs::resize_file(dir + "/a/model.safetensors", 20);
  const absl::Status cut = CheckpointContent(dir + "/a").status();
  EXPECT_TRUE(absl::IsDataLoss(cut)) << cut;
  EXPECT_THAT(cut.message(), HasSubstr("model.safetensors"));
  fs::remove(dir + "/a/model.safetensors");
  fs::remove(dir + "/a/consolidated.safetensors");
  EXPECT_TRUE(absl::IsNotFound(CheckpointContent(dir + "/a").status()));
}

TEST(ContentTest, StandsBehindThePath) {
  const std::string content(64, 'a');
  const auto [path, found] = SplitContent(WithContent("org/name@0123", content));
  EXPECT_EQ(path, "org/name@0123");
  EXPECT_EQ(found, content);
  EXPECT_EQ(SplitContent("models/ja").second, "");
  EXPECT_EQ(SplitContent("models/ja@sha256:123").first, "models/ja@sha256:123") << "too short to be one";
  EXPECT_EQ(SplitContent(WithContent("x", std::string(64, 'Z'))).second, "");
}

TEST(CheckpointContentTest, PathsAreHeldToWhatIsKnownOfTheModels) {
  const std::string a(64, 'a'), b(64, 'b'), commit = "org/name@0123456789abcdef0123456789abcdef01234567";
  std::vector<ModelRef> models = {
      {"here", "/m/here"}, {"said", WithContent("/m/said", b)}, {"hub", commit}, {"other", "/m/other"}};
  HoldToContents({{"here", a}, {"said", a}, {"hub", a}}, &models);
  EXPECT_EQ(models[0].path, WithContent("/m/here", a));
  EXPECT_EQ(models[1].path, WithContent("/m/said", b)) << "what it says itself holds";
  EXPECT_EQ(models[2].path, commit) << "which says as much";
  EXPECT_EQ(models[3].path, "/m/other") << "nothing is known of it";
}

TEST(ContentIndexTest, FindsACopyByItsContentAndNoticesWhenItChanges) {
  const std::string dir = FreshDir("index");
  WriteCheckpoint(dir + "/source", 5000, 1);
  WriteCheckpoint(dir + "/roots/other", 5000, 2);
  WriteCheckpoint(dir + "/roots/deep/er/copy", 5000, 1);
  fs::create_directory_symlink(dir + "/roots", dir + "/roots/round");
  ContentIndex index;
  const std::string content = *index.Of(dir + "/source");
  EXPECT_EQ(*index.Find(content, {dir + "/roots"}), dir + "/roots/deep/er/copy");
  EXPECT_TRUE(absl::IsNotFound(index.Find(std::string(64, '0'), {dir + "/roots"}).status()));
  WriteCheckpoint(dir + "/roots/deep/er/copy", 6000, 3);
  EXPECT_TRUE(absl::IsNotFound(index.Find(content, {dir + "/roots"}).status()));
}

}  // namespace
}  // namespace merganser

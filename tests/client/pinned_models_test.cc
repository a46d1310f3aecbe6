#include "client/pinned_models.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/transfer/checkpoint_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::StartsWith;

class PinnedModelsTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(dir_); }
  // A directory with what makes a checkpoint, told from others by `text`.
  std::string Checkpoint(const std::string& name, const std::string& text) {
    const fs::path dir = fs::path(dir_) / name;
    fs::create_directories(dir);
    std::ofstream(dir / "config.json") << "{\"text\": \"" << text << "\"}";
    std::ofstream(dir / "model.safetensors", std::ios::binary) << std::string("\2\0\0\0\0\0\0\0{}", 10);
    return fs::canonical(dir).string();
  }
  absl::Status Pin(JobSpec* spec) {
    return PinModels(
        dir_ + "/cache",
        [this](const std::string& repository, const std::string& revision) -> absl::StatusOr<std::string> {
          asked_.push_back(absl::StrCat(repository, "@", revision));
          return answer_;
        },
        spec);
  }
  const std::string dir_ = ::testing::TempDir() + "/pinned_models";
  const std::string commit_ = std::string(40, 'c');
  std::vector<std::string> asked_;
  absl::StatusOr<std::string> answer_ = commit_;
};

TEST_F(PinnedModelsTest, ADirectoryGetsItsContent) {
  const std::string base = Checkpoint("base", "one");
  JobSpec spec;
  spec.models = {{"base", base}, {"gone", dir_ + "/gone/for/good"}};
  ASSERT_TRUE(Pin(&spec).ok());
  EXPECT_EQ(spec.models[0].path, WithContent(base, *CheckpointContent(base)));
  EXPECT_EQ(spec.models[1].path, dir_ + "/gone/for/good") << "loading says that it is not there";
  EXPECT_TRUE(asked_.empty());
  ASSERT_TRUE(Pin(&spec).ok()) << "it has that content";
  Checkpoint("base", "two");
  const absl::Status other = Pin(&spec);
  EXPECT_TRUE(absl::IsFailedPrecondition(other));
  EXPECT_THAT(std::string(other.message()), StartsWith("models.base.path: "));
}

TEST_F(PinnedModelsTest, AHubIdGetsItsCommitAndOneThatIsAwayStays) {
  JobSpec spec;
  spec.models = {{"a", "org/name"}, {"b", "org/name@v2"}};
  ASSERT_TRUE(Pin(&spec).ok());
  EXPECT_EQ(spec.models[0].path, "org/name@" + commit_);
  EXPECT_EQ(spec.models[1].path, "org/name@" + commit_);
  EXPECT_EQ(asked_.size(), 2u);
  asked_.clear();
  answer_ = absl::UnavailableError("no network");
  spec.models = {{"a", "org/name"}, {"b", "org/other"}};
  ASSERT_TRUE(Pin(&spec).ok());
  EXPECT_EQ(spec.models[1].path, "org/other");
  EXPECT_EQ(asked_.size(), 1u) << "whoever starts a run waits for it once";
}

TEST_F(PinnedModelsTest, AJobThatGoesOnKeepsWhatItsRecordSays) {
  const std::string content(64, 'a'), other(64, 'b');
  JobSpec stored, spec;
  stored.models = {{"here", WithContent("/m/here", content)},
                   {"hub", "org/name@" + commit_},
                   {"said", WithContent("/m/said", content)},
                   {"moved", WithContent("/m/moved", content)},
                   {"plain", "/m/plain"}};
  spec.models = {{"here", "/m/here"},
                 {"hub", "org/name@main"},
                 {"said", WithContent("/m/said", other)},
                 {"moved", "/m/elsewhere"},
                 {"plain", "/m/plain"}};
  KeepPins(stored, &spec);
  EXPECT_EQ(spec.models[0].path, stored.models[0].path);
  EXPECT_EQ(spec.models[1].path, stored.models[1].path);
  EXPECT_EQ(spec.models[2].path, WithContent("/m/said", other));
  EXPECT_EQ(spec.models[3].path, "/m/elsewhere");
  EXPECT_EQ(spec.models[4].path, "/m/plain");
}

}  // namespace
}  // namespace merganser

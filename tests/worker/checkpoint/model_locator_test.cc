#include "worker/checkpoint/model_locator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "common/transfer/checkpoint_files.h"
#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/hub_access.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";

// A folder with jobs/model, other/model, and a Hub cache that holds org/name at kCommit (branches
// main and refs/pr/1).
class ModelLocatorTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(root_ + "/jobs/model");
    fs::create_directories(root_ + "/other/model");
    fs::create_directories(Repository() + "/snapshots/" + kCommit);
    fs::create_directories(Repository() + "/refs/refs/pr");
    WriteText(Repository() + "/refs/main", kCommit);
    WriteText(Repository() + "/refs/refs/pr/1", std::string(kCommit) + "\n");
    options_.base_dir = root_ + "/jobs";
    options_.hub_cache = root_ + "/hub";
  }

  std::string Repository() const { return root_ + "/hub/models--org--name"; }
  std::string Error(absl::string_view spec, absl::StatusCode code) const {
    const absl::Status status = ResolveModel(spec, options_).status();
    EXPECT_EQ(status.code(), code) << status;
    return std::string(status.message());
  }

  const std::string root_ = fs::canonical(NewFolder()).string();
  ModelLocatorOptions options_;
};

TEST_F(ModelLocatorTest, PathsAreRelativeToTheBaseFolder) {
  EXPECT_EQ(*ResolveModel("model", options_), root_ + "/jobs/model");
  EXPECT_EQ(*ResolveModel("../other/model", options_), root_ + "/other/model");
  EXPECT_EQ(*ResolveModel(root_ + "/other/model", options_), root_ + "/other/model");
}

TEST_F(ModelLocatorTest, HubIdIsTheSnapshotOfItsRevision) {
  const std::string snapshot = Repository() + "/snapshots/" + kCommit;
  EXPECT_EQ(*ResolveModel("org/name", options_), snapshot);
  EXPECT_EQ(*ResolveModel("org/name@main", options_), snapshot);
  EXPECT_EQ(*ResolveModel("org/name@refs/pr/1", options_), snapshot);
  EXPECT_EQ(*ResolveModel(std::string("org/name@") + kCommit, options_), snapshot);
  EXPECT_EQ(*ResolveModel("org/name@0123456", options_), snapshot);
}

TEST_F(ModelLocatorTest, ExistingPathWinsOverHubId) {
  fs::create_directories(root_ + "/jobs/org/name");
  EXPECT_EQ(*ResolveModel("org/name", options_), root_ + "/jobs/org/name");
}

TEST_F(ModelLocatorTest, AbsentHubModelNamesTheCommandThatFetchesIt) {
  EXPECT_THAT(Error("org/none", absl::StatusCode::kNotFound), EndsWith("hf download org/none --revision main"));
  EXPECT_THAT(Error("org/name@v2", absl::StatusCode::kNotFound), EndsWith("hf download org/name --revision v2"));
  EXPECT_THAT(Error("org/name@fffffff", absl::StatusCode::kNotFound), EndsWith("hf download org/name --revision fffffff"));
  options_.hub_cache = "";
  EXPECT_THAT(Error("org/name", absl::StatusCode::kNotFound), EndsWith("hf download org/name --revision main"));
}

TEST_F(ModelLocatorTest, BranchWhoseSnapshotIsGoneIsAbsent) {
  fs::remove_all(Repository() + "/snapshots/" + kCommit);
  EXPECT_THAT(Error("org/name", absl::StatusCode::kNotFound), HasSubstr("hf download"));
}

TEST_F(ModelLocatorTest, AmbiguousShortCommitListsTheChoices) {
  const std::string other = "0123456ffffffffffffffffffffffffffffffff0";
  fs::create_directories(Repository() + "/snapshots/" + other);
  EXPECT_THAT(Error("org/name@0123456", absl::StatusCode::kInvalidArgument),
              AllOf(HasSubstr("ambiguous"), HasSubstr(kCommit), HasSubstr(other)));
}

TEST_F(ModelLocatorTest, NeitherPathNorHubIdIsNotFound) {
  for (const char* spec :
       {"none", "a/b/c", "../org/none", "org/..", "org/name@../../x", "org/na me", "org/name@", "/org/none"}) {
    EXPECT_THAT(Error(spec, absl::StatusCode::kNotFound), HasSubstr("is not a Hub id (org/name[@revision])")) << spec;
  }
}

TEST_F(ModelLocatorTest, FilesAndEmptyNamesAreRefused) {
  WriteText(root_ + "/jobs/file", "x");
  EXPECT_THAT(Error("file", absl::StatusCode::kInvalidArgument), HasSubstr("is a file; a checkpoint is a directory"));
  EXPECT_THAT(Error("", absl::StatusCode::kInvalidArgument), HasSubstr("empty"));
}

TEST_F(ModelLocatorTest, RefThatIsNoCommitIsRefused) {
  WriteText(Repository() + "/refs/main", "../../../other");
  EXPECT_THAT(Error("org/name", absl::StatusCode::kInvalidArgument), HasSubstr("expected a commit"));
}

TEST_F(ModelLocatorTest, RootsConfinePaths) {
  options_.model_roots = {root_ + "/jobs/"};
  EXPECT_TRUE(ResolveModel("model", options_).ok());
  EXPECT_TRUE(ResolveModel("../jobs/model", options_).ok());
  for (const char* spec : {"../other/model", "model/../../other/model", "..", "/", "/etc"}) {
    EXPECT_THAT(Error(spec, absl::StatusCode::kPermissionDenied),
                AllOf(HasSubstr("is outside of the model roots: " + root_ + "/jobs"), HasSubstr(spec)))
        << spec;
  }
}

TEST_F(ModelLocatorTest, RootWhoseNameIsAPrefixDoesNotCount) {
  fs::create_directories(root_ + "/jobs-secret/model");
  options_.model_roots = {root_ + "/jobs"};
  Error("../jobs-secret/model", absl::StatusCode::kPermissionDenied);
}

TEST_F(ModelLocatorTest, ExistenceOutsideOfTheRootsIsNotTold) {
  options_.model_roots = {root_ + "/jobs"};
  Error("../other/model", absl::StatusCode::kPermissionDenied);
  Error("../other/none", absl::StatusCode::kPermissionDenied);
}

TEST_F(ModelLocatorTest, LinksOutOfTheRootsAreRefused) {
  options_.model_roots = {root_ + "/jobs"};
  fs::create_directory_symlink(root_ + "/other/model", root_ + "/jobs/link");
  Error("link", absl::StatusCode::kPermissionDenied);
  WriteText(root_ + "/other/secret.json", "{}");
  fs::create_symlink(root_ + "/other/secret.json", root_ + "/jobs/model/config.json");
  EXPECT_THAT(Error("model", absl::StatusCode::kPermissionDenied),
              HasSubstr("/jobs/model/config.json' (really '" + root_ + "/other/secret.json')"));
}

TEST_F(ModelLocatorTest, HubCacheCountsAsRootWhenListed) {
  WriteText(root_ + "/hub/models--org--name/blob", "{}");
  fs::create_symlink("../../blob", Repository() + "/snapshots/" + kCommit + "/config.json");
  options_.model_roots = {root_ + "/jobs"};
  Error("org/name", absl::StatusCode::kPermissionDenied);
  options_.model_roots.push_back(options_.hub_cache);
  EXPECT_TRUE(ResolveModel("org/name", options_).ok());
}

TEST_F(ModelLocatorTest, RootsAllowTheHubCacheWhereOneHoldsItOrLiesInIt) {
  EXPECT_TRUE(AllowsHubCache(options_)) << "no roots";
  for (const char* root : {"", "/hub", "/hub/models--org--name"}) {
    options_.model_roots = {root_ + "/other", root_ + root};
    EXPECT_TRUE(AllowsHubCache(options_)) << root;
  }
  fs::create_directory(root_ + "/hu");
  for (const char* root : {"/other", "/hu", "/nowhere"}) {
    options_.model_roots = {root_ + root};
    EXPECT_FALSE(AllowsHubCache(options_)) << root;
  }
  options_.hub_cache = "";
  EXPECT_FALSE(AllowsHubCache(options_));
}

TEST_F(ModelLocatorTest, WhatTheCacheLacksIsDownloadedIfItMay) {
  std::vector<std::string> asked;
  options_.download = [&](const std::string& repository, const std::string& revision) -> absl::StatusOr<std::string> {
    asked.push_back(repository + "@" + revision);
    if (repository == "org/away") return absl::UnavailableError("cannot be reached");
    if (repository == "org/none") return absl::NotFoundError("not there");
    return root_ + "/other/model";
  };
  EXPECT_EQ(*ResolveModel("org/new@v2", options_), root_ + "/other/model");
  EXPECT_TRUE(ResolveModel("org/name", options_).ok()) << "it is in the cache";
  EXPECT_EQ(asked, std::vector<std::string>{"org/new@v2"});
  EXPECT_THAT(Error("org/away", absl::StatusCode::kUnavailable), HasSubstr("org/away"));
  EXPECT_THAT(Error("org/none", absl::StatusCode::kNotFound),
              AllOf(HasSubstr("hf download org/none"), EndsWith("(not there)")));
  asked.clear();
  options_.model_roots = {root_ + "/jobs"};
  Error("org/other", absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(asked.empty()) << "the cache is outside of the roots";
}

TEST_F(ModelLocatorTest, AContentBehindThePathIsLookedAt) {
  const std::string dir = fs::canonical(TinyCheckpoint()).string();
  const std::string content = *CheckpointContent(dir);
  EXPECT_EQ(*ResolveModel(WithContent(dir, content), options_), dir);
  const std::string other(64, 'a');
  EXPECT_THAT(Error(WithContent(dir, other), absl::StatusCode::kFailedPrecondition),
              AllOf(HasSubstr(content), HasSubstr(other)));
  options_.model_roots = {root_ + "/jobs"};
  Error(WithContent(dir, content), absl::StatusCode::kPermissionDenied);
}

TEST_F(ModelLocatorTest, AHubIdIsPinnedToItsCommit) {
  const std::string other(40, 'b');
  const auto hub = [&](const std::string& repository, const std::string& revision) -> absl::StatusOr<std::string> {
    if (repository != "org/new" || revision != "main") return absl::NotFoundError("not there");
    return other;
  };
  EXPECT_EQ(*PinHubId("org/name", options_.hub_cache, hub), std::string("org/name@") + kCommit) << "as the cache has it";
  EXPECT_EQ(*PinHubId("org/new", options_.hub_cache, hub), "org/new@" + other);
  EXPECT_EQ(*PinHubId("org/new@" + other, options_.hub_cache, hub), "org/new@" + other);
  EXPECT_TRUE(absl::IsNotFound(PinHubId("org/none", options_.hub_cache, hub).status()));
  for (const std::string& path : {root_ + "/jobs/model", std::string("model"), std::string("a/b/c")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(PinHubId(path, options_.hub_cache, hub).status())) << path;
  }
}

TEST(HubCacheFolderTest, FollowsTheVariablesOfTheHub) {
  std::map<std::string, std::string> variables = {
      {"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/f"}, {"HF_HUB_CACHE", "/c"}};
  const auto getenv = [&](const char* name) -> const char* {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  };
  EXPECT_EQ(HubCacheFolder(getenv), "/c");
  variables["HF_HUB_CACHE"] = "";
  EXPECT_EQ(HubCacheFolder(getenv), "/f/hub");
  variables.erase("HF_HOME");
  EXPECT_EQ(HubCacheFolder(getenv), "/x/huggingface/hub");
  variables.erase("XDG_CACHE_HOME");
  EXPECT_EQ(HubCacheFolder(getenv), "/h/.cache/huggingface/hub");
  variables.clear();
  EXPECT_EQ(HubCacheFolder(getenv), "");
}

}  // namespace
}  // namespace merganser

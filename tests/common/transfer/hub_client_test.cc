#include "common/transfer/hub_client.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing_support::FreshDir;

constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";

class HubClientTest : public testing::Test {
 protected:
  void Serve(std::vector<std::string> flags) {
    WriteCheckpoint(dir_ + "/hub/org/model", 50'000, 1);
    flags.insert(flags.end(), {"--hub", kCommit, "--token", "hf_secret"});
    server_ = TestServer::Start(dir_ + "/hub", flags);
    if (server_ == nullptr) GTEST_SKIP() << "there is no python3";
    options_.endpoint = server_->url();
    options_.token = "hf_secret";
    options_.cache = dir_ + "/cache";
    options_.fetch = {.tries = 10, .backoff = absl::Milliseconds(1)};
  }
  const std::string dir_ = FreshDir("hub");
  const std::string snapshot_ = absl::StrCat(dir_, "/cache/models--org--model/snapshots/", kCommit);
  std::unique_ptr<TestServer> server_;
  HubOptions options_;
};

TEST_F(HubClientTest, DownloadsWhatACheckpointNeedsIntoTheCacheOfAllTools) {
  Serve({});
  if (IsSkipped()) return;
  int64_t done = 0, total = 0;
  const auto dir = HubClient(options_).Download("org/model", "main", [&](int64_t d, int64_t t) { done = d, total = t; });
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(*dir, snapshot_);
  EXPECT_EQ(ReadAll(snapshot_ + "/model.safetensors"), ReadAll(dir_ + "/hub/org/model/model.safetensors"));
  EXPECT_TRUE(fs::exists(snapshot_ + "/tokenizer.json"));
  for (const char* unneeded : {"pytorch_model.bin", "modeling_evil.py", "consolidated.safetensors"}) {
    EXPECT_FALSE(fs::exists(snapshot_ + "/" + unneeded)) << unneeded;
  }
  EXPECT_EQ(ReadAll(dir_ + "/cache/models--org--model/refs/main"), kCommit);
  EXPECT_EQ(done, total);
  EXPECT_GT(total, 50'000);
  const std::string log = server_->log();
  ASSERT_TRUE(HubClient(options_).Download("org/model", kCommit, nullptr).ok());
  EXPECT_THAT(server_->log().substr(log.size()), Not(HasSubstr("/resolve/"))) << "it is there";
}

TEST_F(HubClientTest, GoesOnWhereATransferBrokeOff) {
  Serve({"--cut", "20000"});
  if (IsSkipped()) return;
  const auto dir = HubClient(options_).Download("org/model", "refs/pr/1", nullptr);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(ReadAll(snapshot_ + "/model.safetensors"), ReadAll(dir_ + "/hub/org/model/model.safetensors"));
  EXPECT_THAT(server_->log(), HasSubstr("bytes=40000- 206"));
  EXPECT_EQ(ReadAll(dir_ + "/cache/models--org--model/refs/refs/pr/1"), kCommit);
}

TEST_F(HubClientTest, DamagedWeightsAreFoundByTheHubsSumAndFetchedAgain) {
  Serve({"--flip", "1"});
  if (IsSkipped()) return;
  const auto dir = HubClient(options_).Download("org/model", "main", nullptr);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(ReadAll(snapshot_ + "/model.safetensors"), ReadAll(dir_ + "/hub/org/model/model.safetensors"));
}

TEST_F(HubClientTest, HalfASnapshotHasNotItsName) {
  Serve({"--cut", "20000"});
  if (IsSkipped()) return;
  options_.fetch.tries = 1;
  EXPECT_TRUE(absl::IsUnavailable(HubClient(options_).Download("org/model", "main", nullptr).status()));
  EXPECT_FALSE(fs::exists(snapshot_));
  EXPECT_FALSE(fs::exists(dir_ + "/cache/models--org--model/refs/main"));
  options_.fetch.tries = 10;
  EXPECT_TRUE(HubClient(options_).Download("org/model", "main", nullptr).ok());
}

TEST_F(HubClientTest, ASnapshotThatAnotherToolLeftIncompleteIsCompleted) {
  Serve({});
  if (IsSkipped()) return;
  fs::create_directories(snapshot_);
  WriteAll(snapshot_ + "/config.json", "{}");
  ASSERT_TRUE(HubClient(options_).Download("org/model", "main", nullptr).ok());
  EXPECT_TRUE(fs::exists(snapshot_ + "/model.safetensors"));
  EXPECT_EQ(ReadAll(snapshot_ + "/config.json"), "{}") << "what is there stays";
}

TEST_F(HubClientTest, SaysWhatFailed) {
  Serve({});
  if (IsSkipped()) return;
  EXPECT_EQ(HubClient(options_).LookUp("org/model", "main")->commit, kCommit);
  EXPECT_TRUE(absl::IsNotFound(HubClient(options_).LookUp("org/other", "main").status()));
  EXPECT_TRUE(absl::IsNotFound(HubClient(options_).LookUp("org/model", "v9").status()));
  HubOptions other = options_;
  other.token = "";
  EXPECT_TRUE(absl::IsPermissionDenied(HubClient(other).LookUp("org/model", "main").status()));
  other = options_;
  other.offline = true;
  EXPECT_TRUE(absl::IsNotFound(HubClient(other).LookUp("org/model", "main").status()));
  other = options_;
  other.endpoint = "http://127.0.0.1:1";
  EXPECT_TRUE(absl::IsUnavailable(HubClient(other).LookUp("org/model", "main").status()));
  other.endpoint = "file:///etc";
  EXPECT_TRUE(absl::IsInvalidArgument(HubClient(other).LookUp("org/model", "main").status()));
}

TEST(HubOptionsTest, ComeFromTheEnvironment) {
  const std::string dir = FreshDir("hub_env");
  WriteAll(dir + "/token", "hf_of_the_file\n");
  const auto env = [&](const char* name) -> const char* {
    const std::string n = name;
    return n == "HF_HOME" ? dir.c_str() : n == "HF_HUB_OFFLINE" ? "1" : nullptr;
  };
  const HubOptions options = HubOptionsFrom(env, dir + "/hub");
  EXPECT_EQ(options.token, "hf_of_the_file");
  EXPECT_TRUE(options.offline);
  EXPECT_EQ(options.endpoint, "https://huggingface.co");
}

}  // namespace
}  // namespace merganser

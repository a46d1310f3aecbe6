#include "common/transfer/checkpoint_cache.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/sha256.h"
#include "common/transfer/checkpoint_files.h"
#include "common/transfer/url_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing_support::Eventually;
using testing_support::FreshDir;

// Gives out a directory; `damage` may change what it says and gives.
class FakeSource final : public CheckpointSource {
 public:
  explicit FakeSource(std::string dir) : dir_(std::move(dir)) {}
  std::string name() const override { return "fake"; }
  absl::StatusOr<std::vector<File>> List(std::stop_token) override {
    if (!list.ok()) return list;
    std::vector<File> files;
    const auto there = ListCheckpointFiles(dir_);
    for (const CheckpointFile& file : *there) files.push_back({file.name, file.size, ""});
    if (!extra.empty()) files.push_back({extra, 3, ""});
    return files;
  }
  absl::StatusOr<std::string> Read(const File& file, int64_t offset, const Sink& sink, std::stop_token) override {
    offsets.push_back(offset);
    std::string bytes = ReadAll(dir_ + "/" + file.name);
    if (file.name == "model.safetensors" && flip-- > 0) bytes[bytes.size() / 2] ^= 1;
    if (file.name == "model.safetensors" && endless) bytes += bytes;
    const std::string sha256 = tells_sha ? Sha256Hex(ReadAll(dir_ + "/" + file.name)) : "";
    for (size_t at = offset; at < bytes.size(); at += 1000) {
      if (auto taken = sink(absl::string_view(bytes).substr(at, 1000)); !taken.ok()) return taken;
      if (file.name == "model.safetensors" && breaks > 0 && at > static_cast<size_t>(offset) + 2000) {
        --breaks;
        return absl::UnavailableError("it broke off");
      }
    }
    return sha256;
  }

  bool ReadTellsSha256() const override { return tells_sha; }
  absl::StatusOr<std::string> Sha256Of(const File& file, std::stop_token stop) override {
    if (!knows_sha) return CheckpointSource::Sha256Of(file, stop);
    return Sha256Hex(ReadAll(dir_ + "/" + file.name));
  }

  const std::string dir_;
  absl::Status list;
  std::string extra;
  int breaks = 0, flip = 0;
  bool endless = false, tells_sha = false, knows_sha = false;
  std::vector<int64_t> offsets;
};

class CheckpointCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    WriteCheckpoint(dir_ + "/a", 20'000, 1);
    WriteCheckpoint(dir_ + "/b", 20'000, 2);
    content_a_ = *CheckpointContent(dir_ + "/a");
    content_b_ = *CheckpointContent(dir_ + "/b");
  }
  CheckpointCacheOptions Options(int64_t bytes_max = 1 << 30) const {
    return {.dir = dir_ + "/cache", .bytes_max = bytes_max, .fetch = {.tries = 3, .backoff = absl::Milliseconds(1)}};
  }
  absl::StatusOr<std::shared_ptr<CachedCheckpoint>> Fetch(CheckpointCache& cache, const std::string& content,
                                                          std::vector<CheckpointSource*> sources) {
    return cache.Fetch(content, sources, nullptr, {});
  }

  const std::string dir_ = FreshDir("checkpoint_cache");
  std::string content_a_, content_b_;
};

TEST_F(CheckpointCacheTest, FetchesOnceAndFindsItThen) {
  CheckpointCache cache(Options());
  EXPECT_TRUE(absl::IsNotFound(cache.Find(content_a_).status()));
  FakeSource source(dir_ + "/a");
  const auto fetched = Fetch(cache, content_a_, {&source});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*CheckpointContent((*fetched)->dir()), content_a_);
  EXPECT_FALSE(fs::exists((*fetched)->dir() + "/pytorch_model.bin"));
  EXPECT_FALSE(fs::exists((*fetched)->dir() + "/modeling_evil.py"));
  EXPECT_FALSE(fs::exists(absl::StrCat((*fetched)->dir(), ".partial")));
  const size_t reads = source.offsets.size();
  EXPECT_EQ((*cache.Find(content_a_))->dir(), (*fetched)->dir());
  EXPECT_EQ((*Fetch(cache, content_a_, {&source}))->dir(), (*fetched)->dir());
  EXPECT_EQ(source.offsets.size(), reads);
}

TEST_F(CheckpointCacheTest, GoesOnWhereItBrokeOff) {
  CheckpointCache cache(Options());
  FakeSource source(dir_ + "/a");
  source.breaks = 2;
  const auto fetched = Fetch(cache, content_a_, {&source});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_THAT(source.offsets, ElementsAre(0, 0, 4000, 8000, 0))
      << "config, then the weights in three goes, then the tokenizer";
}

TEST_F(CheckpointCacheTest, WhatBreaksOffTooOftenGoesOnWithTheNextSource) {
  CheckpointCache cache(Options());
  FakeSource broken(dir_ + "/a"), whole(dir_ + "/a"), none(dir_ + "/a");
  none.list = absl::NotFoundError("has it not");
  broken.breaks = 100;
  const auto fetched = Fetch(cache, content_a_, {&none, &broken, &whole});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*std::max_element(whole.offsets.begin(), whole.offsets.end()), 12'000) << "nothing is fetched twice";
  EXPECT_TRUE(absl::IsNotFound(Fetch(cache, content_b_, {&none}).status()));
}

TEST_F(CheckpointCacheTest, AnotherCheckpointIsRefusedAndRemoved) {
  CheckpointCache cache(Options());
  FakeSource source(dir_ + "/b");
  const absl::Status other = Fetch(cache, content_a_, {&source}).status();
  EXPECT_TRUE(absl::IsDataLoss(other)) << other;
  EXPECT_TRUE(absl::IsNotFound(cache.Find(content_a_).status()));
  EXPECT_FALSE(fs::exists(absl::StrCat(dir_, "/cache/", content_a_, ".partial")));
}

TEST_F(CheckpointCacheTest, AFileWithAnotherChecksumIsFetchedAgain) {
  CheckpointCache cache(Options());
  FakeSource source(dir_ + "/a");
  source.flip = 1;
  source.tells_sha = true;
  EXPECT_TRUE(Fetch(cache, content_a_, {&source}).ok());
  EXPECT_THAT(source.offsets, ElementsAre(0, 0, 0, 0)) << "config, the weights twice from their start, tokenizer";
  FakeSource worse(dir_ + "/b");
  worse.flip = 100;
  worse.tells_sha = true;
  const absl::Status damaged = Fetch(cache, content_b_, {&worse}).status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_THAT(damaged.message(), HasSubstr("SHA-256"));
}

TEST_F(CheckpointCacheTest, NamesAndLengthsOfASourceAreNotTrusted) {
  CheckpointCache cache(Options());
  for (const char* name : {"../../escaped.json", "/etc/config.json", "pytorch_model.bin", "a/config.json"}) {
    FakeSource source(dir_ + "/a");
    source.extra = name;
    EXPECT_TRUE(absl::IsInvalidArgument(Fetch(cache, content_a_, {&source}).status())) << name;
    EXPECT_TRUE(source.offsets.empty()) << "it is refused before anything is read";
  }
  FakeSource source(dir_ + "/a");
  source.endless = true;
  EXPECT_TRUE(absl::IsDataLoss(Fetch(cache, content_a_, {&source}).status()));
}

TEST_F(CheckpointCacheTest, TheLeastRecentlyUsedMakesRoomUnlessItIsInUse) {
  WriteCheckpoint(dir_ + "/c", 20'000, 3);
  const std::string content_c = *CheckpointContent(dir_ + "/c");
  CheckpointCache cache(Options(/*bytes_max=*/45'000));
  FakeSource a(dir_ + "/a"), b(dir_ + "/b"), c(dir_ + "/c");
  auto using_a = *Fetch(cache, content_a_, {&a});
  const std::string dir_b = (*Fetch(cache, content_b_, {&b}))->dir();
  ASSERT_TRUE(Fetch(cache, content_c, {&c}).ok());
  EXPECT_TRUE(fs::exists(using_a->dir())) << "older, but in use";
  EXPECT_FALSE(fs::exists(dir_b));
  auto using_c = *cache.Find(content_c);
  const absl::Status full = Fetch(cache, content_b_, {&b}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  using_a.reset();
  EXPECT_TRUE(Fetch(cache, content_b_, {&b}).ok());
  CheckpointCache small(Options(/*bytes_max=*/10'000));
  EXPECT_TRUE(absl::IsResourceExhausted(Fetch(small, content_a_, {&a}).status())) << "it could never fit";
}

TEST_F(CheckpointCacheTest, AKilledProcessLeavesWhatTheNextOneGoesOnWith) {
  const auto slow = TestServer::Start(dir_ + "/a");
  if (slow == nullptr) GTEST_SKIP() << "there is no python3";
  WriteCheckpoint(dir_ + "/a", 4'000'000, 1);
  const std::string content = *CheckpointContent(dir_ + "/a");
  const std::string part = absl::StrCat(dir_, "/cache/", content, ".partial/model.safetensors.part");
  const pid_t child = fork();
  if (child == 0) {
    UrlSource source(slow->url() + "/{file}?{content}", content, "a", {.bytes_per_second = 400'000});
    CheckpointCache cache(Options());
    (void)Fetch(cache, content, {&source});
    _exit(0);
  }
  EXPECT_TRUE(Eventually([&] { return fs::exists(part) && fs::file_size(part) > 200'000; }));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto there = fs::file_size(part);
  ASSERT_LT(there, 4'000'000u);
  UrlSource source(slow->url() + "/{file}?{content}", content, "a", {});
  CheckpointCache cache(Options());
  const auto fetched = Fetch(cache, content, {&source});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(ReadAll((*fetched)->dir() + "/model.safetensors"), ReadAll(dir_ + "/a/model.safetensors"));
  EXPECT_THAT(slow->log(), HasSubstr(absl::StrCat("bytes=", there, "- 206")));
}

TEST_F(CheckpointCacheTest, FromAServerThatCutsEveryAnswerAndKnowsNoPickles) {
  const auto server = TestServer::Start(dir_, {"--cut", "9000"});
  if (server == nullptr) GTEST_SKIP() << "there is no python3";
  UrlSource source(server->url() + "/{model}/{file}", content_a_, "a", {});
  CheckpointCacheOptions options = Options();
  options.fetch.tries = 5;
  CheckpointCache cache(options);
  int64_t done = 0, total = 0;
  const auto fetched = cache.Fetch(content_a_, {&source}, [&](int64_t d, int64_t t) { done = d, total = t; }, {});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(ReadAll((*fetched)->dir() + "/model.safetensors"), ReadAll(dir_ + "/a/model.safetensors"));
  EXPECT_EQ(done, total);
  EXPECT_GT(total, 20'000);
  EXPECT_THAT(server->log(), HasSubstr("bytes=9000- 206"));
  EXPECT_THAT(server->log(), Not(HasSubstr("pytorch_model")));
}

// A byte between the samples of which the content is made: 8 MB of weights, 64 blocks of 4 KiB.
class DamagedTransferTest : public CheckpointCacheTest {
 protected:
  void SetUp() override {
    CheckpointCacheTest::SetUp();
    WriteCheckpoint(dir_ + "/large", kBytes, 7);
    content_ = *CheckpointContent(dir_ + "/large");
    std::string bytes = ReadAll(Path());
    bytes[bytes.size() / 2] ^= 1;
    fs::copy(dir_ + "/large", dir_ + "/flipped");
    WriteAll(dir_ + "/flipped/model.safetensors", bytes);
    ASSERT_EQ(*CheckpointContent(dir_ + "/flipped"), content_) << "the samples do not see it";
  }
  std::string Path() const { return dir_ + "/large/model.safetensors"; }
  void Serve(std::vector<std::string> flags) {
    server_ = TestServer::Start(dir_, std::move(flags));
    if (server_ == nullptr) GTEST_SKIP() << "there is no python3";
    source_ = std::make_unique<UrlSource>(server_->url() + "/large/{file}?{content}", content_, "", UrlRequest{});
  }
  void WriteSum(const std::string& of) { WriteAll(Path() + ".sha256", Sha256Hex(of) + "  model.safetensors\n"); }
  int Downloads() const {
    int count = 0;
    for (const absl::string_view line : absl::StrSplit(server_->log(), '\n')) {
      count += absl::StartsWith(line, "GET /large/model.safetensors?") ? 1 : 0;
    }
    return count;
  }

  static constexpr int64_t kBytes = 8'000'000;
  std::string content_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<UrlSource> source_;
};

TEST_F(DamagedTransferTest, IsFoundAndMendedWhereTheServerTellsTheSum) {
  for (const char* told : {"a file beside it", "a header"}) {
    const bool header = told == std::string("a header");
    std::vector<std::string> flags = {"--flip", "1"};
    if (header) flags.emplace_back("--digests");
    if (!header) WriteSum(ReadAll(Path()));
    Serve(flags);
    if (IsSkipped()) return;
    CheckpointCache cache(Options());
    testing::internal::CaptureStderr();
    const auto fetched = Fetch(cache, content_, {source_.get()});
    const std::string log = testing::internal::GetCapturedStderr();
    ASSERT_TRUE(fetched.ok()) << told << ": " << fetched.status();
    EXPECT_TRUE(ReadAll((*fetched)->dir() + "/model.safetensors") == ReadAll(Path())) << told;
    EXPECT_EQ(Downloads(), 2) << told;
    const size_t at = fs::file_size(Path()) / 2;
    EXPECT_THAT(log, HasSubstr(absl::StrCat("bytes=\"", at, "-", at, " of ", fs::file_size(Path()), "\""))) << told;
    for (const auto& entry : fs::directory_iterator((*fetched)->dir())) {
      EXPECT_TRUE(IsCheckpointFileName(entry.path().filename().string())) << entry.path() << " is left";
    }
    fs::remove_all(dir_ + "/cache");
    fs::remove(Path() + ".sha256");
  }
}

TEST_F(DamagedTransferTest, ThatStaysDamagedIsNamedAndTheNextSourceIsAsked) {
  WriteSum(ReadAll(Path()));
  Serve({"--flip", "100"});
  if (IsSkipped()) return;
  CheckpointCache cache(Options());
  const absl::Status damaged = Fetch(cache, content_, {source_.get()}).status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_THAT(damaged.message(), HasSubstr("'model.safetensors'"));
  EXPECT_THAT(damaged.message(), HasSubstr(server_->url()));
  EXPECT_THAT(damaged.message(), HasSubstr("should have " + Sha256Hex(ReadAll(Path()))));
  EXPECT_EQ(Downloads(), 3) << "as many tries as there are";
  FakeSource good(dir_ + "/large");
  const auto fetched = Fetch(cache, content_, {source_.get(), &good});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(ReadAll((*fetched)->dir() + "/model.safetensors") == ReadAll(Path()));
}

TEST_F(DamagedTransferTest, IsFoundByTheSumOfAnotherSource) {
  Serve({"--flip", "1"});
  if (IsSkipped()) return;
  FakeSource witness(dir_ + "/large");
  witness.knows_sha = true;
  CheckpointCache cache(Options());
  const auto fetched = Fetch(cache, content_, {source_.get(), &witness});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(ReadAll((*fetched)->dir() + "/model.safetensors") == ReadAll(Path()));
  EXPECT_TRUE(witness.offsets.empty()) << "it gave the sum, not the bytes";
}

TEST_F(DamagedTransferTest, WhereNobodyKnowsTheSumOnlySamplesAreCheckedAndTheLogSaysSo) {
  Serve({"--flip", "1"});
  if (IsSkipped()) return;
  CheckpointCache cache(Options());
  testing::internal::CaptureStderr();
  const auto fetched = Fetch(cache, content_, {source_.get()});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("nobody knows the SHA-256 of file=model.safetensors"));
  ASSERT_TRUE(fetched.ok()) << fetched.status();
}

TEST_F(DamagedTransferTest, AFileLeftByAnEarlierTransferIsSummedBeforeItIsKept) {
  const std::string partial = absl::StrCat(dir_, "/cache/", content_, ".partial");
  fs::create_directories(partial);
  fs::copy(dir_ + "/flipped/model.safetensors", partial + "/model.safetensors");
  FakeSource source(dir_ + "/large");
  source.knows_sha = source.tells_sha = true;
  CheckpointCache cache(Options());
  const auto fetched = Fetch(cache, content_, {&source});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(ReadAll((*fetched)->dir() + "/model.safetensors") == ReadAll(Path()));
}

TEST_F(CheckpointCacheTest, ShardsAreThoseOfTheIndex) {
  fs::remove(dir_ + "/a/model.safetensors");
  WriteAll(dir_ + "/a/model-1.safetensors", Weights(5000, 5));
  WriteAll(dir_ + "/a/model-2.safetensors", Weights(6000, 6));
  WriteAll(dir_ + "/a/model.safetensors.index.json",
           R"({"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}})");
  const std::string content = *CheckpointContent(dir_ + "/a");
  UrlSource source(absl::StrCat("file://", dir_, "/a/{file}?{content}"), content, "", {});
  UrlSource plain(absl::StrCat("file://", dir_, "/{model}/{file}"), content, "/a", {});
  CheckpointCache cache(Options());
  const auto fetched = Fetch(cache, content, {&plain});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(fs::exists((*fetched)->dir() + "/model-2.safetensors"));
}

}  // namespace
}  // namespace merganser

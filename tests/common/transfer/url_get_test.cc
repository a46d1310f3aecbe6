#include "common/transfer/url_get.h"

#include "common/base/sha256.h"
#include "common/transfer/url_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/transfer/test_server.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::FreshDir;

class UrlGetTest : public testing::Test {
 protected:
  void Serve(std::vector<std::string> flags = {}) {
    server_ = TestServer::Start(dir_, std::move(flags));
    if (server_ == nullptr) GTEST_SKIP() << "there is no python3";
  }
  absl::StatusOr<UrlAnswer> Get(UrlRequest request) {
    body_.clear();
    return GetUrl(request, [this](absl::string_view bytes) {
      body_.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    });
  }

  const std::string dir_ = FreshDir("url_get");
  std::unique_ptr<TestServer> server_;
  std::string body_;
};

TEST_F(UrlGetTest, ReadsFromAnOffset) {
  WriteAll(dir_ + "/f", "0123456789");
  Serve();
  if (IsSkipped()) return;
  ASSERT_TRUE(Get({.url = server_->url() + "/f"}).ok());
  EXPECT_EQ(body_, "0123456789");
  const auto part = Get({.url = server_->url() + "/f", .offset = 4});
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(body_, "456789");
  EXPECT_EQ(part->size, 10);
  EXPECT_TRUE(absl::IsOutOfRange(Get({.url = server_->url() + "/f", .offset = 10}).status()));
  const auto head = Get({.url = server_->url() + "/f", .head = true});
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->size, 10);
  EXPECT_EQ(body_, "");
}

TEST_F(UrlGetTest, TellsTheSumThatTheServerTells) {
  WriteAll(dir_ + "/f", "0123456789");
  Serve({"--digests"});
  if (IsSkipped()) return;
  EXPECT_EQ(Get({.url = server_->url() + "/f", .head = true})->sha256, Sha256Hex("0123456789"));
  EXPECT_EQ(Get({.url = server_->url() + "/f"})->sha256, "") << "not told with the body";
}

TEST_F(UrlGetTest, AServerWithoutRangesIsReadFromItsStart) {
  WriteAll(dir_ + "/f", "0123456789");
  Serve({"--no-ranges"});
  if (IsSkipped()) return;
  ASSERT_TRUE(Get({.url = server_->url() + "/f", .offset = 4}).ok());
  EXPECT_EQ(body_, "456789");
}

TEST_F(UrlGetTest, SaysWhatFailed) {
  WriteAll(dir_ + "/f", "0123456789");
  Serve({"--cut", "3"});
  if (IsSkipped()) return;
  const absl::Status cut = Get({.url = server_->url() + "/f?secret=1"}).status();
  EXPECT_TRUE(absl::IsUnavailable(cut)) << cut;
  EXPECT_EQ(body_, "012") << "what came is kept";
  EXPECT_THAT(cut.message(), HasSubstr(server_->url() + "/f: "));
  EXPECT_TRUE(absl::IsNotFound(Get({.url = server_->url() + "/no"}).status()));
  EXPECT_EQ(body_, "") << "an error's page is no content";
  EXPECT_TRUE(absl::IsUnavailable(Get({.url = "http://127.0.0.1:1/f"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Get({.url = "ftp://127.0.0.1/f"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Get({.url = "gopher://127.0.0.1/f"}).status()));
}

TEST_F(UrlGetTest, StopsAtItsBoundAndWhenAsked) {
  WriteAll(dir_ + "/f", std::string(1 << 20, 'x'));
  Serve();
  if (IsSkipped()) return;
  EXPECT_TRUE(absl::IsResourceExhausted(Get({.url = server_->url() + "/f", .bytes_max = 1000}).status()));
  std::stop_source stop;
  stop.request_stop();
  const auto ignore = [](absl::string_view) { return absl::OkStatus(); };
  EXPECT_TRUE(absl::IsCancelled(GetUrl({.url = server_->url() + "/f"}, ignore, stop.get_token()).status()));
  const auto full = [](absl::string_view) { return absl::ResourceExhaustedError("disk full"); };
  EXPECT_TRUE(absl::IsResourceExhausted(GetUrl({.url = server_->url() + "/f"}, full).status()));
}

TEST_F(UrlGetTest, FilesAreUrlsToo) {
  WriteAll(dir_ + "/f", "0123456789");
  ASSERT_TRUE(Get({.url = "file://" + dir_ + "/f", .offset = 4}).ok());
  EXPECT_EQ(body_, "456789");
  EXPECT_EQ(Get({.url = "file://" + dir_ + "/f", .head = true})->size, 10);
  EXPECT_TRUE(absl::IsNotFound(Get({.url = "file://" + dir_ + "/no"}).status()));
}

TEST_F(UrlGetTest, ABucketGetsASignatureThatItVerifies) {
  std::filesystem::create_directories(dir_ + "/bucket/models");
  WriteAll(dir_ + "/bucket/models/f", "0123456789");
  Serve({"--s3", "AKID:s3cr3t/+=:eu-north-1", "--digests"});
  if (IsSkipped()) return;
  S3Access access{.endpoint = server_->url(), .region = "eu-north-1", .key_id = "AKID", .secret = "s3cr3t/+="};
  const auto got = Get({.url = "s3://bucket/models/f", .s3 = access});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(body_, "0123456789");
  ASSERT_TRUE(Get({.url = "s3://bucket/models/f", .offset = 7, .s3 = access}).ok());
  EXPECT_EQ(body_, "789");
  const auto head = Get({.url = "s3://bucket/models/f", .head = true, .s3 = access});
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->sha256, Sha256Hex("0123456789"));
  access.session_token = "of a role";
  EXPECT_TRUE(Get({.url = "s3://bucket/models/f", .s3 = access}).ok());
  access.secret = "wrong";
  EXPECT_TRUE(absl::IsPermissionDenied(Get({.url = "s3://bucket/models/f", .s3 = access}).status()));
  access.key_id = "";
  EXPECT_TRUE(absl::IsPermissionDenied(Get({.url = "s3://bucket/models/f", .s3 = access}).status()));
}

TEST(S3AccessTest, ComesFromTheEnvironment) {
  const auto env = [](const char* name) -> const char* {
    const std::string n = name;
    return n == "AWS_REGION"              ? "eu-north-1"
           : n == "AWS_ACCESS_KEY_ID"     ? "AKID"
           : n == "AWS_SECRET_ACCESS_KEY" ? "s"
                                          : nullptr;
  };
  EXPECT_EQ(S3AccessFrom(env).endpoint, "https://s3.eu-north-1.amazonaws.com");
  EXPECT_EQ(S3AccessFrom(env).key_id, "AKID");
  EXPECT_EQ(S3AccessFrom([](const char*) -> const char* { return nullptr; }).region, "us-east-1");
}

TEST(UrlTemplateTest, MustSayWhichFileOfWhichCheckpoint) {
  EXPECT_TRUE(CheckUrlTemplate("https://models.example/{content}/{file}").ok());
  EXPECT_TRUE(CheckUrlTemplate("s3://bucket/{model}/{file}").ok());
  for (const char* bad : {"https://models.example/{content}", "https://models.example/{file}", "ftp://x/{content}/{file}",
                          "/m/{content}/{file}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckUrlTemplate(bad))) << bad;
  }
}

TEST(UrlTemplateTest, AModelsPathDoesNotClimb) {
  for (const char* model : {"../secrets", "a/../../b", "a?x=1", "a b", "{file}"}) {
    UrlSource source("file:///models/{model}/{file}", "", model, {});
    EXPECT_TRUE(absl::IsNotFound(source.List({}).status())) << model;
  }
}

TEST(WeightFilesInIndexTest, NamesEachFileOnce) {
  EXPECT_THAT(
      *WeightFilesInIndex(R"({"weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}})"),
      ElementsAre("m-1.safetensors", "m-2.safetensors"));
  EXPECT_TRUE(absl::IsInvalidArgument(WeightFilesInIndex("[]").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(WeightFilesInIndex(R"({"weight_map": {"a": 1}})").status()));
}

}  // namespace
}  // namespace merganser

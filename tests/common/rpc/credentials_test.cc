#include "common/rpc/credentials.h"

#include <cstdio>
#include <fstream>

#include "common/rpc/authorize.h"
#include "common/rpc/backoff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_clock.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

TEST(IsLoopbackTest, KnowsItsOwnMachine) {
  for (const char* own : {"127.0.0.1:50051", "127.8.9.1:1", "localhost:50051", "[::1]:50051", "unix:/run/x"}) {
    EXPECT_TRUE(IsLoopback(own)) << own;
  }
  for (const char* other :
       {"0.0.0.0:50051", "10.0.0.1:1", "[::]:50051", "127.0.0.1.example.org:1", "localhost.example.org:1"}) {
    EXPECT_FALSE(IsLoopback(other)) << other;
  }
}

TEST(MakeServerCredentialsTest, PlaintextOnlyOnLoopbackUnlessSaid) {
  EXPECT_TRUE(MakeServerCredentials({"127.0.0.1:0"}, {}).ok());
  const absl::Status refused = MakeServerCredentials({"0.0.0.0:0"}, {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--insecure"));
  ServerSecurity insecure;
  insecure.insecure = true;
  EXPECT_TRUE(MakeServerCredentials({"0.0.0.0:0"}, insecure).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(MakeServerCredentials({"127.0.0.1:0", "0.0.0.0:0"}, {}).status()))
      << "every port counts";
}

TEST(MakeServerCredentialsTest, HalfAKeyPairIsRefused) {
  ServerSecurity half;
  half.tls_cert = "/some/cert.pem";
  EXPECT_TRUE(absl::IsInvalidArgument(MakeServerCredentials({"127.0.0.1:0"}, half).status()));
}

TEST(MakeChannelCredentialsTest, ATokenDoesNotTravelInPlainTextBeyondLoopback) {
  ClientSecurity token;
  token.token_file = "/some/token";
  EXPECT_TRUE(absl::IsInvalidArgument(MakeChannelCredentials("coordinator:50051", token).status()));
  EXPECT_TRUE(MakeChannelCredentials("127.0.0.1:50051", token).ok());
}

class AuthorizerTest : public testing::Test {
 protected:
  absl::StatusOr<Authorizer> Make(const std::string& lines) {
    Write(lines);
    return Authorizer::Create(security_);
  }
  // As people are told to: a new file in place of the old one.
  void Write(const std::string& lines) const {
    std::ofstream(path_ + ".new") << lines;
    std::rename((path_ + ".new").c_str(), path_.c_str());
  }
  void TearDown() override { std::remove(path_.c_str()); }

  const std::string path_ = testing::TempDir() + "/tokens";
  const ServerSecurity security_ = [this] {
    ServerSecurity security;
    security.token_file = path_;
    return security;
  }();
};

TEST_F(AuthorizerTest, RolesIncludeTheWeakerOnesButAWorkerIsOnlyAWorker) {
  const auto authorizer = Make(
      "# people\nviewer viewer-token-0001\nsubmitter submitter-token-1\nadmin "
      "admin-token-00001\n\nworker worker-token-0001\n");
  ASSERT_TRUE(authorizer.ok()) << authorizer.status();
  EXPECT_TRUE(authorizer->Check("admin-token-00001", {}, Role::kAdmin).ok());
  EXPECT_TRUE(authorizer->Check("admin-token-00001", {}, Role::kSubmitter).ok());
  EXPECT_TRUE(authorizer->Check("submitter-token-1", {}, Role::kViewer).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(authorizer->Check("submitter-token-1", {}, Role::kAdmin)));
  EXPECT_TRUE(absl::IsPermissionDenied(authorizer->Check("viewer-token-0001", {}, Role::kSubmitter)));
  EXPECT_TRUE(absl::IsPermissionDenied(authorizer->Check("worker-token-0001", {}, Role::kViewer)));
  EXPECT_TRUE(absl::IsPermissionDenied(authorizer->Check("admin-token-00001", {}, Role::kWorker)));
  EXPECT_TRUE(absl::IsUnauthenticated(authorizer->Check("some-other-token-1", {}, Role::kViewer)));
  EXPECT_TRUE(absl::IsUnauthenticated(authorizer->Check("", {}, Role::kViewer)));
}

TEST_F(AuthorizerTest, ACertificatesNameIsARole) {
  const auto authorizer = Make("viewer viewer-token-0001\n");
  ASSERT_TRUE(authorizer.ok()) << authorizer.status();
  EXPECT_TRUE(authorizer->Check("", {"worker/gpu-7"}, Role::kWorker).ok());
  EXPECT_TRUE(absl::IsUnauthenticated(authorizer->Check("", {"workers"}, Role::kWorker)));
}

TEST_F(AuthorizerTest, WhoCallsIsKnownByNameAndNotByToken) {
  const auto authorizer = Make("submitter submitter-token-1 alice\nviewer viewer-token-0001\n");
  ASSERT_TRUE(authorizer.ok()) << authorizer.status();
  std::string who = "nobody yet";
  EXPECT_TRUE(authorizer->Check("submitter-token-1", {}, Role::kViewer, &who).ok());
  EXPECT_EQ(who, "submitter/alice");
  EXPECT_TRUE(authorizer->Check("viewer-token-0001", {}, Role::kViewer, &who).ok());
  EXPECT_EQ(who, "viewer");
  EXPECT_TRUE(authorizer->Check("", {"admin/bob"}, Role::kAdmin, &who).ok());
  EXPECT_EQ(who, "admin/bob");
  EXPECT_FALSE(authorizer->Check("viewer-token-0001", {}, Role::kAdmin, &who).ok());
  EXPECT_EQ(who, "");
}

TEST_F(AuthorizerTest, ATokenThatIsTakenOutOfTheFileIsRefusedSoon) {
  FakeClock clock;
  Write("viewer viewer-token-0001\nadmin admin-token-00001\n");
  const auto authorizer = Authorizer::Create(security_, clock);
  ASSERT_TRUE(authorizer.ok()) << authorizer.status();
  const Authorizer copy = *authorizer;  // as the dashboard's
  Write("viewer viewer-token-0001\nadmin another-admin-token\n");
  EXPECT_TRUE(authorizer->Check("admin-token-00001", {}, Role::kAdmin).ok()) << "not looked at yet";
  clock.Advance(Authorizer::kReload);
  EXPECT_TRUE(absl::IsUnauthenticated(authorizer->Check("admin-token-00001", {}, Role::kAdmin)));
  EXPECT_TRUE(absl::IsUnauthenticated(copy.Check("admin-token-00001", {}, Role::kAdmin)));
  EXPECT_TRUE(authorizer->Check("another-admin-token", {}, Role::kAdmin).ok());
  EXPECT_TRUE(authorizer->Check("viewer-token-0001", {}, Role::kViewer).ok());
}

TEST_F(AuthorizerTest, AFileThatBreaksLetsTheOldTokensStayUntilItIsMended) {
  FakeClock clock;
  Write("admin admin-token-00001\n");
  const auto authorizer = Authorizer::Create(security_, clock);
  ASSERT_TRUE(authorizer.ok()) << authorizer.status();
  for (const char* broken : {"", "admin short\n", "root another-admin-token\n"}) {
    Write(broken);
    clock.Advance(Authorizer::kReload);
    EXPECT_TRUE(authorizer->Check("admin-token-00001", {}, Role::kAdmin).ok()) << broken;
  }
  std::remove(path_.c_str());
  clock.Advance(Authorizer::kReload);
  EXPECT_TRUE(authorizer->Check("admin-token-00001", {}, Role::kAdmin).ok()) << "gone";
  Write("admin another-admin-token\n");
  clock.Advance(Authorizer::kReload);
  EXPECT_TRUE(absl::IsUnauthenticated(authorizer->Check("admin-token-00001", {}, Role::kAdmin)));
}

TEST_F(AuthorizerTest, ABrokenTokenFileIsNamedByLine) {
  const auto authorizer = Make("viewer viewer-token-0001\nroot root-token-00001\n");
  ASSERT_FALSE(authorizer.ok());
  EXPECT_THAT(std::string(authorizer.status().message()), HasSubstr("tokens:2"));
}

TEST(BackoffTest, WaitsGrowToTheirBoundAndStayAboveAFloor) {
  Backoff backoff(absl::Seconds(1), absl::Seconds(30), /*seed=*/1);
  for (int i = 0; i < 40; ++i) {
    const absl::Duration wait = backoff.Next();
    EXPECT_LE(wait, absl::Seconds(30));
    EXPECT_GE(wait, absl::Milliseconds(100));
    if (i == 0) EXPECT_LE(wait, absl::Seconds(1));
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Seconds(1));
}

}  // namespace
}  // namespace merganser

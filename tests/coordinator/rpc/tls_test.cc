// TLS as operators use it: certificates whose names are roles, tokens beside them, certificates that are replaced or
// expired.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/codec/job_codec.h"
#include "common/rpc/certificate_expiry.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_codec.h"
#include "common/store/memory/memory_store.h"
#include "coordinator/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/fleet_service.grpc.pb.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

using testing_support::Eventually;
using testing_support::FreshDir;

constexpr absl::Duration kPatience = absl::Minutes(1);

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("openssl version > /dev/null 2>&1") != 0) GTEST_SKIP() << "openssl is not installed";
    dir_ = FreshDir("tls");
    MakeCa("ca");
    MakeCertificate("server", "ca", "localhost", 30);
    for (const char* role : {"viewer", "admin/alice", "stranger"}) MakeCertificate(Stem(role), "ca", role, 30);
    manager_ = JobManager::Create(&store_, &ProtoJobCodec(), &Clock::Real(), nullptr, {});
    ASSERT_TRUE(manager_->Start().ok());
  }
  void TearDown() override {
    if (manager_ != nullptr) manager_->Stop();
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
  }

  static std::string Stem(std::string name) { return name.substr(0, name.find('/')); }
  std::string File(const std::string& name) { return absl::StrCat(dir_, "/", name); }
  void Shell(const std::string& command) {
    ASSERT_EQ(std::system(absl::StrCat(command, " 2> ", File("openssl.log")).c_str()), 0) << command;
  }
  void MakeCa(const std::string& ca) {
    Shell(absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=", ca,
                       " -keyout ", File(ca + ".key"), " -out ", File(ca + ".pem")));
  }
  // Written elsewhere and renamed, as an operator replaces certificates. `days` 0: expired at once.
  void MakeCertificate(const std::string& stem, const std::string& ca, const std::string& name, int days) {
    std::string subject = name;
    if (const size_t slash = subject.find('/'); slash != std::string::npos) subject.insert(slash, 1, '\\');
    std::ofstream(File("san")) << "subjectAltName=IP:127.0.0.1,DNS:localhost\n";
    Shell(absl::StrCat("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=", subject,
                       "' -keyout ", File("new.key"), " -out ", File("new.csr")));
    Shell(absl::StrCat("openssl x509 -req -in ", File("new.csr"), " -CA ", File(ca + ".pem"), " -CAkey ", File(ca + ".key"),
                       " -CAcreateserial -days ", days, " -extfile ", File("san"), " -out ", File("new.pem")));
    std::rename(File("new.key").c_str(), File(stem + ".key").c_str());
    std::rename(File("new.pem").c_str(), File(stem + ".pem").c_str());
  }
  void Start(const std::string& token_file = "", int port = 0) {
    ServerOptions options;
    options.listen = absl::StrCat("127.0.0.1:", port);
    options.worker_listen = "127.0.0.1:0";
    options.security = {File("server.pem"), File("server.key"), File("ca.pem"), token_file};
    auto started = Server::Start(manager_.get(), &store_, nullptr, options);
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  // `stem` "": no certificate of its own.
  ClientSecurity As(const std::string& stem, const std::string& ca = "ca") {
    ClientSecurity security{.tls_ca = File(ca + ".pem")};
    if (!stem.empty()) security.tls_cert = File(stem + ".pem"), security.tls_key = File(stem + ".key");
    return security;
  }
  absl::Status List(const ClientSecurity& security) {
    const auto channel = CreateChannel(absl::StrCat("127.0.0.1:", server_->port()), security);
    return channel.ok() ? ListBy(*channel) : channel.status();
  }
  // A call that only the user port answers gets as far as that answer.
  bool ReachesWorkerPort(const ClientSecurity& security) {
    const auto channel = CreateChannel(absl::StrCat("127.0.0.1:", server_->worker_port()), security);
    return channel.ok() && absl::IsUnimplemented(ListBy(*channel));
  }
  absl::Status ListBy(const ClientChannel& channel) {
    grpc::ClientContext context;
    channel.Prepare(&context, kPatience);
    v1::ListWorkersResponse response;
    return FromGrpc(v1::FleetService::NewStub(channel.channel)->ListWorkers(&context, {}, &response));
  }
  // As a client that does not look at its own certificate.
  bool ListWithUncheckedFiles(const std::string& stem) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = *ReadFile(File("ca.pem"), 1 << 20);
    options.pem_private_key = *ReadFile(File(stem + ".key"), 1 << 20);
    options.pem_cert_chain = *ReadFile(File(stem + ".pem"), 1 << 20);
    const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->port()), grpc::SslCredentials(options));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    v1::ListWorkersResponse response;
    return v1::FleetService::NewStub(channel)->ListWorkers(&context, {}, &response).ok();
  }
  absl::Status Drain(const ClientSecurity& security) {
    const auto channel = CreateChannel(absl::StrCat("127.0.0.1:", server_->port()), security);
    grpc::ClientContext context;
    channel->Prepare(&context, kPatience);
    v1::DrainWorkerRequest request;
    request.set_worker("nobody");
    v1::DrainWorkerResponse response;
    return FromGrpc(v1::FleetService::NewStub(channel->channel)->DrainWorker(&context, request, &response));
  }

  std::string dir_;
  MemoryStore store_;
  std::unique_ptr<JobManager> manager_;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsTest, ACertificatesNameSaysWhatItsHolderMayDo) {
  Start();
  EXPECT_TRUE(List(As("viewer")).ok()) << List(As("viewer"));
  EXPECT_TRUE(absl::IsPermissionDenied(Drain(As("viewer"))));
  EXPECT_TRUE(absl::IsNotFound(Drain(As("admin"))));  // allowed, but there is no such worker
  EXPECT_TRUE(absl::IsUnauthenticated(List(As("stranger"))));
}

TEST_F(TlsTest, ACertificatesEndIsToldAndFollowsItsReplacement) {
  ServerSecurity security{File("server.pem"), File("server.key")};
  const auto days_left = [&] {
    const absl::StatusOr<absl::Time> expiry = CertificateExpiry(security);
    EXPECT_TRUE(expiry.ok()) << expiry.status();
    return absl::ToDoubleHours(expiry.value_or(absl::UnixEpoch()) - absl::Now()) / 24;
  };
  EXPECT_NEAR(days_left(), 30, 0.1);
  MakeCertificate("server", "ca", "localhost", 90);
  EXPECT_NEAR(days_left(), 90, 0.1);
  // Of a chain, whichever ends first: the authority's 30 days.
  Shell(absl::StrCat("cat ", File("server.pem"), " ", File("ca.pem"), " > ", File("chain.pem")));
  security.tls_cert = File("chain.pem");
  EXPECT_NEAR(days_left(), 30, 0.1);
}

TEST_F(TlsTest, FilesThatAreNoPairHaveNoEnd) {
  EXPECT_TRUE(absl::IsFailedPrecondition(CertificateExpiry({File("server.pem"), File("admin.key")}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CertificateExpiry({File("server.key"), File("server.key")}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CertificateExpiry({File("server.pem"), File("server.pem")}).status()));
  EXPECT_TRUE(absl::IsNotFound(CertificateExpiry({File("none.pem"), File("server.key")}).status()));
}

TEST_F(TlsTest, NoCertificateAnExpiredOneAndOneOfAnotherCaDoNotGetIn) {
  Start();
  EXPECT_FALSE(List(As("")).ok());
  MakeCertificate("expired", "ca", "viewer", 0);
  const absl::Status expired = List(As("expired"));  // which says so, where a server would only close the connection
  EXPECT_TRUE(absl::IsUnauthenticated(expired)) << expired;
  EXPECT_THAT(expired.message(), ::testing::HasSubstr("expired.pem was valid until"));
  EXPECT_FALSE(ListWithUncheckedFiles("expired"));
  EXPECT_TRUE(ListWithUncheckedFiles("viewer"));
  MakeCa("other");
  MakeCertificate("foreign", "other", "admin", 30);
  EXPECT_FALSE(List(As("foreign")).ok());
  EXPECT_FALSE(List({}).ok());  // plain text
  EXPECT_TRUE(List(As("viewer")).ok());
}

TEST_F(TlsTest, ATokenIsEnoughWhereThereIsATokenFile) {
  std::ofstream(File("tokens")) << "viewer 0123456789abcdef\nadmin fedcba9876543210\n";
  Start(File("tokens"));
  std::ofstream(File("token")) << "0123456789abcdef\n";
  ClientSecurity security = As("");
  EXPECT_TRUE(absl::IsUnauthenticated(List(security)));
  security.token_file = File("token");
  EXPECT_TRUE(List(security).ok()) << List(security);
  EXPECT_TRUE(absl::IsPermissionDenied(Drain(security)));
}

TEST_F(TlsTest, AReplacedCertificateIsUsedWithoutARestart) {
  Start();
  ASSERT_TRUE(List(As("viewer")).ok());
  MakeCa("next");
  EXPECT_FALSE(List(As("viewer", "next")).ok());  // the server's certificate is not signed by it yet
  MakeCertificate("server", "next", "localhost", 30);
  EXPECT_TRUE(Eventually([&] { return List(As("viewer", "next")).ok(); }));
}

// A worker runs for longer than its certificate does, and its CA.
TEST_F(TlsTest, AClientsFilesThatAreReplacedAreThoseOfItsNextConnection) {
  Start();
  const ClientChannel channel = *CreateChannel(absl::StrCat("127.0.0.1:", server_->port()), As("viewer"));
  ASSERT_EQ(ListBy(channel), absl::OkStatus());
  MakeCa("ca");
  MakeCertificate("server", "ca", "localhost", 30);
  MakeCertificate("viewer", "ca", "viewer", 30);
  const int port = server_->port();
  server_->Shutdown(absl::ZeroDuration());
  server_.reset();
  Start("", port);
  EXPECT_TRUE(Eventually([&] { return ListBy(channel).ok(); })) << ListBy(channel);
}

// `--ca <(...)` of a shell.
TEST_F(TlsTest, AClientsFilesMayBePipes) {
  Start();
  std::vector<int> ends;
  const auto piped = [&](const std::string& name) {
    const std::string text = *ReadFile(File(name), 1 << 20);
    int pipe[2];
    EXPECT_EQ(::pipe(pipe), 0);
    EXPECT_EQ(write(pipe[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(pipe[1]);
    ends.push_back(pipe[0]);
    return absl::StrCat("/dev/fd/", pipe[0]);
  };
  const absl::Status listed =
      List({.tls_ca = piped("ca.pem"), .tls_cert = piped("viewer.pem"), .tls_key = piped("viewer.key")});
  EXPECT_EQ(listed, absl::OkStatus());
  for (const int end : ends) close(end);
}

TEST_F(TlsTest, FilesThatDoNotFitAreNotServedInPlaceOfThoseThatDo) {
  Start();
  ASSERT_TRUE(List(As("viewer")).ok());
  SetLogLevel(LogLevel::kInfo);
  testing::internal::CaptureStderr();
  std::ofstream(File("server.pem")) << "no certificate\n";
  absl::SleepFor(absl::Seconds(8));  // the files are looked at every 5 s, what is served every second
  EXPECT_TRUE(List(As("viewer")).ok()) << List(As("viewer"));
  MakeCa("next");
  MakeCertificate("server", "next", "localhost", 30);
  EXPECT_TRUE(Eventually([&] { return List(As("viewer", "next")).ok(); }));
  EXPECT_TRUE(Eventually([&] { return ReachesWorkerPort(As("viewer", "next")); })) << "both ports";
  const std::string log = testing::internal::GetCapturedStderr();
  SetLogLevel(LogLevel::kWarning);
  const auto count = [&](absl::string_view what) { return std::vector<std::string>(absl::StrSplit(log, what)).size() - 1; };
  EXPECT_GE(count("certificate not replaced"), 1) << log;
  EXPECT_EQ(count("certificate replaced"), 1) << log;
}

TEST_F(TlsTest, FilesThatDoNotFitAreRefusedAtTheStart) {
  ServerOptions options;
  options.listen = options.worker_listen = "127.0.0.1:0";
  const auto start = [&](const std::string& certificate, const std::string& key, const std::string& ca) {
    options.security = {File(certificate), File(key), File(ca)};
    return std::string(Server::Start(manager_.get(), &store_, nullptr, options).status().message());
  };
  EXPECT_THAT(start("server.pem", "admin.key", "ca.pem"), testing::HasSubstr("admin.key is not the key of"));
  EXPECT_THAT(start("server.key", "server.key", "ca.pem"), testing::HasSubstr("server.key holds no PEM certificate"));
  EXPECT_THAT(start("server.pem", "server.key", "ca.key"), testing::HasSubstr("ca.key holds no PEM certificate"));
}

TEST_F(TlsTest, AWrongPathIsNamedAtTheStart) {
  ServerOptions options;
  options.listen = options.worker_listen = "127.0.0.1:0";
  options.security = {File("nowhere.pem"), File("server.key"), ""};
  EXPECT_THAT(std::string(Server::Start(manager_.get(), &store_, nullptr, options).status().message()),
              testing::HasSubstr("nowhere.pem"));
}

}  // namespace
}  // namespace merganser

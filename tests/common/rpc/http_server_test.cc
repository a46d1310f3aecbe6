#include "common/rpc/http_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Sends `request` and reads to the end of the connection.
std::string Ask(int port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return answer;
}

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = HttpServer::Start("127.0.0.1:0", {{"/hello", [] { return HttpResponse{200, "text/plain", "hi"}; }}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersGetAndHead) {
  const std::string get = Ask(server_->port(), "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(get, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(get, HasSubstr("\r\n\r\nhi"));
  const std::string head = Ask(server_->port(), "HEAD /hello HTTP/1.1\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(head, Not(HasSubstr("\r\n\r\nhi")));
}

TEST_F(HttpServerTest, RefusesWhatItDoesNotServe) {
  EXPECT_THAT(Ask(server_->port(), "GET /other HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Ask(server_->port(), "POST /hello HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Ask(server_->port(), "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, AnOverlongRequestIsRefusedAndTheNextIsServed) {
  const std::string answer = Ask(server_->port(), "GET /" + std::string(100'000, 'x') + " HTTP/1.1\r\n\r\n");
  EXPECT_THAT(answer, Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Ask(server_->port(), "GET /hello HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST(HttpRequestTest, QueryAndHeadersAreDecoded) {
  const auto request =
      ParseRequestHead("GET /api/jobs/a?search=x%20y+z&n=7&bad=7x&n=8 HTTP/1.1\r\nHost: here:1\r\nX-A:  b ");
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->path, "/api/jobs/a");
  EXPECT_EQ(request->Query("search"), "x y z");
  EXPECT_EQ(request->QueryNumber("n", 1, 0, 10), 8) << "of a repeated name the last";
  EXPECT_EQ(request->QueryNumber("none", 1, 0, 10), 1);
  EXPECT_FALSE(request->QueryNumber("bad", 1, 0, 10).has_value());
  EXPECT_FALSE(request->QueryNumber("n", 1, 0, 5).has_value());
  EXPECT_EQ(request->Header("host"), "here:1");
  EXPECT_EQ(request->Header("x-a"), "b");
  EXPECT_EQ(DecodeUrl("%zz%4"), "%zz%4");
  EXPECT_FALSE(ParseRequestHead("GET http://elsewhere/ HTTP/1.1").has_value());
  EXPECT_FALSE(ParseRequestHead("").has_value());
}

class HttpPagesTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = HttpServer::Start("127.0.0.1:0",
                                    {{"/fixed",
                                      [] {
                                        return HttpResponse{200, "text/plain", "fixed"};
                                      }}},
                                    [this](const HttpRequest& request) {
                                      HttpResponse response{200, "text/plain", request.method + " " + request.body};
                                      if (request.path == "/follow") {
                                        response.stream = [this](HttpStream& out) {
                                          while (out.Write("tick\n") && out.Wait(absl::Milliseconds(5))) {
                                          }
                                          ++ended_;
                                        };
                                      }
                                      return response;
                                    });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::atomic<int> ended_{0};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpPagesTest, WhatNoFixedPageIsForGoesToTheOtherHandler) {
  EXPECT_THAT(Ask(server_->port(), "GET /fixed HTTP/1.1\r\n\r\n"), HasSubstr("\r\n\r\nfixed"));
  EXPECT_THAT(Ask(server_->port(), "POST /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"), HasSubstr("\r\n\r\nPOST body"));
  EXPECT_THAT(Ask(server_->port(), "POST /fixed HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Ask(server_->port(), "DELETE /x HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Ask(server_->port(), "POST /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"), StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpPagesTest, AStreamEndsWithItsClientAndWithTheServer) {
  for (int i = 0; i < 2; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const std::string request = "GET /follow HTTP/1.1\r\n\r\n";
    ASSERT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    std::string answer;
    char buffer[256];
    while (answer.find("tick\ntick\n") == std::string::npos) {
      const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
      ASSERT_GT(n, 0);
      answer.append(buffer, static_cast<size_t>(n));
    }
    if (i == 0) {
      close(fd);
      while (ended_ == 0) absl::SleepFor(absl::Milliseconds(1));
    } else {
      server_ = nullptr;
      EXPECT_EQ(ended_, 2);
      close(fd);
    }
  }
}

TEST(HttpServerStartTest, APortThatIsTakenIsNamed) {
  const auto first = HttpServer::Start("127.0.0.1:0", {});
  ASSERT_TRUE(first.ok());
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = HttpServer::Start(address, {});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
  EXPECT_TRUE(absl::IsInvalidArgument(HttpServer::Start("nonsense", {}).status()));
}

}  // namespace
}  // namespace merganser

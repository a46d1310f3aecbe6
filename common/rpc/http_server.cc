#include "common/rpc/http_server.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/log.h"

namespace merganser {
namespace {

constexpr size_t kRequestBytesMax = 8192;
constexpr absl::Duration kConnectionTime = absl::Seconds(5);
constexpr int kThreads = 4;  // a slow scraper must not keep a probe waiting

absl::string_view Reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    default: return "Service Unavailable";
  }
}

// Waits until `fd` is ready for `events`. False: the deadline passed, or an error.
bool WaitFor(int fd, short events, absl::Duration deadline) {
  const absl::Duration left = deadline - Clock::Real().Monotonic();
  if (left <= absl::ZeroDuration()) return false;
  pollfd poll_fd{fd, events, 0};
  return poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) > 0;
}

// Head of a request, up to the blank line; "" if there is none within the bounds. `too_large` says why.
std::string ReadHead(int fd, absl::Duration deadline, bool* too_large) {
  std::string head;
  char buffer[2048];
  while (WaitFor(fd, POLLIN, deadline)) {
    const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return "";
    head.append(buffer, static_cast<size_t>(n));
    if (head.find("\r\n\r\n") != std::string::npos) return head;
    if (head.size() > kRequestBytesMax) {
      *too_large = true;
      return "";
    }
  }
  return "";
}

void SendAll(int fd, absl::string_view bytes, absl::Duration deadline) {
  while (!bytes.empty() && WaitFor(fd, POLLOUT, deadline)) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

absl::StatusOr<int> Listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("'", address, "' is not HOST:PORT"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), address.c_str() + colon + 1, &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot listen at '", address, "': ", gai_strerror(error)));
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool bound = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 64) == 0;
  const int reason = errno;
  freeaddrinfo(found);
  if (!bound) {
    if (fd >= 0) close(fd);
    return absl::UnavailableError(absl::StrCat("cannot listen at '", address, "': ", strerror(reason)));
  }
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              std::map<std::string, Handler> handlers) {
  const absl::StatusOr<int> fd = Listen(address);
  if (!fd.ok()) return fd.status();
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->listener_ = *fd;
  server->stop_event_ = eventfd(0, EFD_CLOEXEC);
  server->handlers_ = std::move(handlers);
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  getsockname(*fd, reinterpret_cast<sockaddr*>(&bound), &size);
  char port[16] = "0";
  getnameinfo(reinterpret_cast<sockaddr*>(&bound), size, nullptr, 0, port, sizeof(port), NI_NUMERICSERV);
  server->port_ = atoi(port);
  for (int i = 0; i < kThreads; ++i) server->threads_.emplace_back([s = server.get()] { s->Serve(); });
  return server;
}

HttpServer::~HttpServer() {
  const uint64_t one = 1;
  if (stop_event_ >= 0 && write(stop_event_, &one, sizeof(one)) < 0) {
    MG_LOG(ERROR) << "http stop failed";
  }
  for (std::thread& thread : threads_) thread.join();
  if (stop_event_ >= 0) close(stop_event_);
  if (listener_ >= 0) close(listener_);
}

void HttpServer::Serve() {
  while (true) {
    pollfd fds[2] = {{listener_, POLLIN, 0}, {stop_event_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;  // never read: it wakes all threads
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) {
      // Out of descriptors: the listener stays readable, so wait a little instead of spinning.
      if (errno == EMFILE || errno == ENFILE) poll(&fds[1], 1, 100);
      continue;
    }
    Answer(connection);
    close(connection);
  }
}

void HttpServer::Answer(int connection) const {
  const absl::Duration deadline = Clock::Real().Monotonic() + kConnectionTime;
  bool too_large = false;
  const std::string head = ReadHead(connection, deadline, &too_large);
  if (head.empty() && !too_large) return;
  HttpResponse response;
  const std::vector<absl::string_view> words =
      absl::StrSplit(absl::string_view(head).substr(0, head.find("\r\n")), ' ');
  bool with_body = true;
  if (too_large) {
    response = {431, "text/plain", "request too large\n"};
  } else if (words.size() != 3 || !absl::StartsWith(words[2], "HTTP/1.")) {
    response = {400, "text/plain", "not an HTTP/1.1 request\n"};
  } else if (words[0] != "GET" && words[0] != "HEAD") {
    response = {405, "text/plain", "only GET and HEAD\n"};
  } else {
    with_body = words[0] == "GET";
    const std::string path(words[1].substr(0, words[1].find('?')));
    const auto handler = handlers_.find(path);
    if (handler == handlers_.end()) {
      response = {404, "text/plain", "no such page\n"};
    } else {
      try {
        response = handler->second();
      } catch (const std::exception& e) {  // prometheus-cpp and allocation
        MG_LOG(ERROR) << "http handler failed path=" << path << " error=" << e.what();
        response = {500, "text/plain", "internal error\n"};
      }
    }
  }
  std::string bytes = absl::StrCat("HTTP/1.1 ", response.status, " ", Reason(response.status),
                                   "\r\nContent-Type: ", response.content_type, "\r\nContent-Length: ", response.body.size(),
                                   "\r\nConnection: close\r\n", response.status == 405 ? "Allow: GET, HEAD\r\n" : "", "\r\n");
  if (with_body) bytes += response.body;
  SendAll(connection, bytes, deadline);
  shutdown(connection, SHUT_WR);
}

std::map<std::string, HttpServer::Handler> ServiceEndpoints(const prometheus::Registry* registry,
                                                            std::function<absl::Status()> ready) {
  return {
      {"/metrics",
       [registry] {
         std::ostringstream text;
         prometheus::TextSerializer().Serialize(text, registry->Collect());
         return HttpResponse{200, "text/plain; version=0.0.4; charset=utf-8", text.str()};
       }},
      {"/healthz", [] { return HttpResponse{200, "text/plain; charset=utf-8", "ok\n"}; }},
      {"/readyz",
       [ready = std::move(ready)] {
         const absl::Status status = ready();
         if (status.ok()) return HttpResponse{200, "text/plain; charset=utf-8", "ready\n"};
         return HttpResponse{503, "text/plain; charset=utf-8", absl::StrCat("not ready: ", status.message(), "\n")};
       }},
  };
}

}  // namespace merganser

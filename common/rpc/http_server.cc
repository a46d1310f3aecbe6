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
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/log.h"

namespace merganser {
namespace {

constexpr size_t kRequestBytesMax = 8192;
constexpr int64_t kBodyBytesMax = 64 * 1024;
constexpr absl::Duration kConnectionTime = absl::Seconds(5);
constexpr int kThreads = 12;  // a slow scraper must not keep a probe waiting
constexpr size_t kStreamsMax = 64;

absl::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    default:
      return "Service Unavailable";
  }
}

// Waits until `fd` is ready for `events`. False: the deadline passed, or an error.
bool WaitFor(int fd, short events, absl::Duration deadline) {
  const absl::Duration left = deadline - Clock::Real().Monotonic();
  if (left <= absl::ZeroDuration()) return false;
  pollfd poll_fd{fd, events, 0};
  return poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) > 0;
}

// Reads until `enough` says so of what has come. False: not within the bounds; `too_large` says why.
bool ReadUntil(int fd, absl::Duration deadline, size_t bytes_max, const std::function<bool(const std::string&)>& enough,
               std::string* bytes, bool* too_large) {
  char buffer[2048];
  while (!enough(*bytes)) {
    if (bytes->size() > bytes_max) {
      *too_large = true;
      return false;
    }
    if (!WaitFor(fd, POLLIN, deadline)) return false;
    const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return false;
    bytes->append(buffer, static_cast<size_t>(n));
  }
  return true;
}

// False: the deadline passed, or the client left.
bool SendAll(int fd, absl::string_view bytes, absl::Duration deadline) {
  while (!bytes.empty()) {
    if (!WaitFor(fd, POLLOUT, deadline)) return false;
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

HttpResponse PlainResponse(int status, absl::string_view text) {
  return {status, "text/plain; charset=utf-8", absl::StrCat(text, "\n")};
}

// Request line and headers, without length and body.
std::string ResponseHead(const HttpResponse& response) {
  std::string head =
      absl::StrCat("HTTP/1.1 ", response.status, " ", Reason(response.status), "\r\nContent-Type: ", response.content_type,
                   "\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n");
  for (const auto& [name, value] : response.headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
  return head;
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

bool HttpStream::Write(absl::string_view bytes) {
  return SendAll(connection_, bytes, Clock::Real().Monotonic() + kConnectionTime) && Wait(absl::ZeroDuration());
}

bool HttpStream::Wait(absl::Duration time) {
  pollfd fds[2] = {{connection_, POLLIN, 0}, {stop_event_, POLLIN, 0}};
  if (poll(fds, 2, static_cast<int>(absl::ToInt64Milliseconds(time))) < 0) return errno == EINTR;
  // A client has nothing more to say: what comes is its end.
  return fds[0].revents == 0 && fds[1].revents == 0;
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              std::map<std::string, Handler> handlers,
                                                              RequestHandler others) {
  const absl::StatusOr<int> fd = Listen(address);
  if (!fd.ok()) return fd.status();
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->listener_ = *fd;
  server->stop_event_ = eventfd(0, EFD_CLOEXEC);
  server->handlers_ = std::move(handlers);
  server->others_ = std::move(others);
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
  {
    absl::MutexLock lock(&mu_);  // nobody is left to start one
    for (Stream& stream : streams_) stream.thread.join();
  }
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
    if (!Answer(connection)) close(connection);
  }
}

HttpResponse HttpServer::Respond(const HttpRequest& request) const {
  const auto handler = handlers_.find(request.path);
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (!reads && (request.method != "POST" || handler != handlers_.end() || others_ == nullptr)) {
    HttpResponse response = PlainResponse(405, "only GET and HEAD");
    response.headers = {{"Allow", "GET, HEAD"}};
    return response;
  }
  try {
    if (handler != handlers_.end()) return handler->second();
    if (others_ != nullptr) return others_(request);
  } catch (const std::exception& e) {  // prometheus-cpp, JSON and allocation
    MG_LOG(ERROR) << "http handler failed path=" << request.path << " error=" << e.what();
    return PlainResponse(500, "internal error");
  }
  return PlainResponse(404, "no such page");
}

bool HttpServer::Answer(int connection) {
  const absl::Duration deadline = Clock::Real().Monotonic() + kConnectionTime;
  bool too_large = false;
  std::string bytes;
  const auto has_head = [](const std::string& b) { return b.find("\r\n\r\n") != std::string::npos; };
  const bool read = ReadUntil(connection, deadline, kRequestBytesMax, has_head, &bytes, &too_large);
  if (!read && !too_large) return false;
  HttpResponse response;
  bool with_body = true;
  const size_t head_size = bytes.find("\r\n\r\n");
  std::optional<HttpRequest> request;
  if (read) request = ParseRequestHead(absl::string_view(bytes).substr(0, head_size));
  int64_t length = 0;
  if (too_large) {
    response = PlainResponse(431, "request too large");
  } else if (!request.has_value()) {
    response = PlainResponse(400, "not an HTTP/1.1 request");
  } else if (const std::string text = request->Header("content-length");
             !text.empty() && (!absl::SimpleAtoi(text, &length) || length < 0 || length > kBodyBytesMax)) {
    response = PlainResponse(413, "body too large");
  } else {
    const size_t all = head_size + 4 + static_cast<size_t>(length);
    const auto has_all = [all](const std::string& b) { return b.size() >= all; };
    if (!ReadUntil(connection, deadline, all, has_all, &bytes, &too_large)) return false;
    request->body = bytes.substr(head_size + 4, static_cast<size_t>(length));
    with_body = request->method != "HEAD";
    response = Respond(*request);
  }
  if (response.stream != nullptr && with_body) {
    const std::string head = absl::StrCat(ResponseHead(response), "\r\n");
    auto run = [head, stream = std::move(response.stream)](HttpStream& out) {
      if (out.Write(head)) stream(out);
    };
    if (StartStream(connection, std::move(run))) return true;
    response = PlainResponse(503, "too many clients follow; try again");
  }
  std::string text = absl::StrCat(ResponseHead(response), "Content-Length: ", response.body.size(), "\r\n\r\n");
  if (with_body) text += response.body;
  // Counted anew: the first look at a long job reads all of its log.
  SendAll(connection, text, Clock::Real().Monotonic() + kConnectionTime);
  shutdown(connection, SHUT_WR);
  return false;
}

bool HttpServer::StartStream(int connection, std::function<void(HttpStream&)> run) {
  absl::MutexLock lock(&mu_);
  for (auto it = streams_.begin(); it != streams_.end();) {
    if (!it->done) {
      ++it;
      continue;
    }
    it->thread.join();
    it = streams_.erase(it);
  }
  if (streams_.size() >= kStreamsMax) return false;
  Stream& stream = streams_.emplace_back();
  stream.thread = std::thread([this, connection, &stream, run = std::move(run)] {
    HttpStream out(connection, stop_event_);
    try {
      run(out);
    } catch (const std::exception& e) {
      MG_LOG(ERROR) << "http stream failed error=" << e.what();
    }
    shutdown(connection, SHUT_WR);
    close(connection);
    stream.done = true;
  });
  return true;
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
      {"/healthz",
       [] {
         return HttpResponse{200, "text/plain; charset=utf-8", "ok\n"};
       }},
      {"/readyz",
       [ready = std::move(ready)] {
         const absl::Status status = ready();
         if (status.ok()) return HttpResponse{200, "text/plain; charset=utf-8", "ready\n"};
         return HttpResponse{503, "text/plain; charset=utf-8", absl::StrCat("not ready: ", status.message(), "\n")};
       }},
  };
}

}  // namespace merganser

// A small HTTP/1.1 listener for scrapers and probes: GET and HEAD of fixed paths, one request per connection.
#ifndef MERGANSER_COMMON_RPC_HTTP_SERVER_H_
#define MERGANSER_COMMON_RPC_HTTP_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace prometheus {
class Registry;
}

namespace merganser {

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Bounds: requests of 8 KiB, 5 s per connection, four at once; what comes on top waits in the kernel's queue.
class HttpServer {
 public:
  // By exact path. Called on one of the server's threads, possibly several at once.
  using Handler = std::function<HttpResponse()>;

  // `address`: "host:port" (IPv4 or [IPv6]); port 0 chooses a free one. InvalidArgument: no such address; Unavailable: it is
  // in use.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                           std::map<std::string, Handler> handlers);
  // Ends the threads; a handler that runs is waited for.
  ~HttpServer();

  int port() const { return port_; }

 private:
  HttpServer() = default;
  void Serve();
  void Answer(int connection) const;

  // Constant after Start.
  int listener_ = -1;
  int stop_event_ = -1;
  int port_ = 0;
  std::map<std::string, Handler> handlers_;

  std::vector<std::thread> threads_;
};

// /metrics (Prometheus text of `registry`), /healthz (the process lives) and /readyz (200 if `ready` says OK, else 503 with
// its message). `registry` outlives the server.
std::map<std::string, HttpServer::Handler> ServiceEndpoints(const prometheus::Registry* registry,
                                                            std::function<absl::Status()> ready);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_HTTP_SERVER_H_

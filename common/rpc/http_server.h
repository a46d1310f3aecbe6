// A small HTTP/1.1 listener for scrapers, probes and the dashboard: one request per connection, plain text.
#ifndef MERGANSER_COMMON_RPC_HTTP_SERVER_H_
#define MERGANSER_COMMON_RPC_HTTP_SERVER_H_

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/rpc/http_request.h"

namespace prometheus {
class Registry;
}

namespace merganser {

// What a response that goes on (server-sent events) is written to. For the one thread that writes it.
class HttpStream {
 public:
  HttpStream(int connection, int stop_event) : connection_(connection), stop_event_(stop_event) {}
  // False once the client left, takes nothing for 5 s, or the server ends: return then.
  bool Write(absl::string_view bytes);
  // Waits for `time`; false as above.
  bool Wait(absl::Duration time);

 private:
  const int connection_, stop_event_;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // further ones
  // Set: instead of `body`, runs on a thread of its own until it returns.
  std::function<void(HttpStream&)> stream = nullptr;
};

// Bounds: requests of 8 KiB and 64 KiB of body, 5 s per connection, twelve at once (a browser opens connections that it
// does not use yet); what comes on top waits in the kernel's queue. 64 streams; one more is answered with 503.
class HttpServer {
 public:
  // By exact path, for GET and HEAD. Called on one of the server's threads, possibly several at once.
  using Handler = std::function<HttpResponse()>;
  // Whatever no Handler is for, also POST; where there is none, that is 404.
  using RequestHandler = std::function<HttpResponse(const HttpRequest&)>;

  // `address`: "host:port" (IPv4 or [IPv6]); port 0 chooses a free one. InvalidArgument: no such address; Unavailable: it is
  // in use.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                           std::map<std::string, Handler> handlers,
                                                           RequestHandler others = nullptr);
  // Ends the threads; a handler that runs is waited for.
  ~HttpServer();

  int port() const { return port_; }

 private:
  struct Stream {
    std::thread thread;
    std::atomic<bool> done{false};
  };

  HttpServer() = default;
  void Serve();
  // True if a stream took the connection over.
  bool Answer(int connection);
  HttpResponse Respond(const HttpRequest& request) const;
  bool StartStream(int connection, std::function<void(HttpStream&)> run) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after Start.
  int listener_ = -1;
  int stop_event_ = -1;
  int port_ = 0;
  std::map<std::string, Handler> handlers_;
  RequestHandler others_;

  absl::Mutex mu_;
  std::list<Stream> streams_ ABSL_GUARDED_BY(mu_);

  std::vector<std::thread> threads_;
};

// /metrics (Prometheus text of `registry`), /healthz (the process lives) and /readyz (200 if `ready` says OK, else 503 with
// its message). `registry` outlives the server.
std::map<std::string, HttpServer::Handler> ServiceEndpoints(const prometheus::Registry* registry,
                                                            std::function<absl::Status()> ready);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_HTTP_SERVER_H_

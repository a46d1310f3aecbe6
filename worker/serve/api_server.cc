#include "worker/serve/api_server.h"

#include <httplib.h>

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/serve/api_call.h"
#include "worker/serve/api_error.h"
#include "worker/serve/call_run.h"
#include "worker/serve/responses.h"
#include "worker/serve/token_texts.h"
#include "worker/serve/tokenizer_pages.h"

namespace merganser {
namespace {

constexpr char kJson[] = "application/json";
constexpr int kIoSeconds = 30;  // without a byte read or written

void SetError(const absl::Status& status, httplib::Response& response) {
  response.status = HttpStatus(status);
  response.set_content(ErrorBody(status), kJson);
}

void SetPage(const absl::StatusOr<nlohmann::ordered_json>& page, httplib::Response& response) {
  if (!page.ok()) return SetError(page.status(), response);
  response.set_content(page->dump(), kJson);
}

// Takes as long whatever the first byte that differs.
bool SameSecret(absl::string_view a, absl::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i] ^ (b.empty() ? 0 : b[i % b.size()]));
  }
  return difference == 0;
}

// Only the process that listens may have the port: httplib's own default lets a second one share it.
void SetSocketOptions(socket_t socket) {
  const int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

}  // namespace

class ApiServer::Impl {
 public:
  Impl(const ApiServerOptions& options, const ServedModel& model, RequestQueue& queue)
      : options_(options), model_(model), queue_(queue), texts_(model.tokenizer) {}

  ~Impl() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start() {
    if (options_.port < 0 || options_.port > 65535) {
      return absl::InvalidArgumentError(absl::StrCat("port is ", options_.port, ", not in [0, 65535]"));
    }
    if (options_.connections < 1 || options_.connections > 4096) {
      return absl::InvalidArgumentError(absl::StrCat("connections is ", options_.connections, ", not in [1, 4096]"));
    }
    Configure();
    Route();
    port_ = options_.port;
    const bool bound = options_.port == 0 ? (port_ = server_.bind_to_any_port(options_.host)) > 0
                                          : server_.bind_to_port(options_.host, port_);
    if (!bound) {
      return absl::UnavailableError(absl::StrCat("cannot listen at ", options_.host, ":", options_.port,
                                                 ": the port is taken, or no address of this machine"));
    }
    thread_ = std::thread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
    // Before it runs it cannot be stopped.
    while (!server_.is_running() && !ended_) std::this_thread::yield();
    return absl::OkStatus();
  }

  int port() const { return port_; }
  std::string base_url() const {
    const bool v6 = absl::StrContains(options_.host, ':');
    return absl::StrCat("http://", v6 ? "[" : "", options_.host, v6 ? "]" : "", ":", port_, "/v1");
  }

 private:
  void Configure() {
    server_.new_task_queue = [n = options_.connections] { return new httplib::ThreadPool(n); };
    server_.set_socket_options(SetSocketOptions);
    server_.set_tcp_nodelay(true);
    server_.set_payload_max_length(options_.body_bytes_max);
    server_.set_keep_alive_max_count(1);  // a thread serves a connection: none may sit idle on one
    server_.set_read_timeout(kIoSeconds);
    server_.set_write_timeout(kIoSeconds);
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      const bool open = options_.api_key.empty() || request.path == "/health";
      if (open || SameSecret(absl::StrCat("Bearer ", options_.api_key), request.get_header_value("Authorization"))) {
        return httplib::Server::HandlerResponse::Unhandled;
      }
      SetError(KeyError(), response);
      return httplib::Server::HandlerResponse::Handled;
    });
    server_.set_error_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (!response.body.empty()) return;
      const int status = response.status;
      absl::Status error = absl::InvalidArgumentError(absl::StrCat("the request could not be read (HTTP ", status, ")"));
      if (status == 404) {
        error = absl::NotFoundError(absl::StrCat(request.method, " ", request.path, ": no such page; there are /v1/models, ",
                                                 "/v1/completions, /v1/chat/completions, /tokenize, /detokenize, ",
                                                 "/tokenizer_info and /health"));
      } else if (status == 413) {
        error = absl::InvalidArgumentError(absl::StrCat("the body is larger than ", options_.body_bytes_max, " bytes"));
      }
      response.set_content(ErrorBody(error), kJson);
    });
    server_.set_exception_handler([](const httplib::Request& request, httplib::Response& response, std::exception_ptr) {
      MG_LOG(ERROR) << "request failed path=" << request.path;
      SetError(absl::InternalError("internal error"), response);
    });
  }

  void Route() {
    server_.Get("/health", [](const httplib::Request&, httplib::Response& response) { response.set_content("{}", kJson); });
    server_.Get("/v1/models", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(ModelsJson(model_).dump(), kJson);
    });
    server_.Get("/v1/models/(.+)", [this](const httplib::Request& request, httplib::Response& response) {
      const std::string name = request.matches[1];
      for (const std::string& known : model_.names) {
        if (name == known) return response.set_content(ModelJson(model_).dump(), kJson);
      }
      SetError(absl::NotFoundError(absl::StrCat("model '", name, "' is not served here")), response);
    });
    server_.Post("/v1/completions", [this](const httplib::Request& request, httplib::Response& response) {
      Complete(ParseCompletionCall(request.body, model_), response);
    });
    server_.Post("/v1/chat/completions", [this](const httplib::Request& request, httplib::Response& response) {
      Complete(ParseChatCall(request.body, model_), response);
    });
    server_.Post("/tokenize", [this](const httplib::Request& request, httplib::Response& response) {
      SetPage(TokenizePage(request.body, model_), response);
    });
    server_.Post("/detokenize", [this](const httplib::Request& request, httplib::Response& response) {
      SetPage(DetokenizePage(request.body, model_), response);
    });
    server_.Get("/tokenizer_info", [this](const httplib::Request&, httplib::Response& response) {
      SetPage(TokenizerInfoPage(model_), response);
    });
  }

  // A call and the answer to it.
  struct Running {
    std::unique_ptr<CallRun> run;
    ResponseWriter writer;
  };

  absl::StatusOr<std::shared_ptr<Running>> Begin(absl::StatusOr<ApiCall> call) {
    MG_RETURN_IF_ERROR(call.status());
    MG_ASSIGN_OR_RETURN(std::unique_ptr<CallRun> run, CallRun::Submit(*std::move(call), model_.tokenizer, queue_));
    ResponseWriter writer(run->call(), model_.names[0], texts_, absl::ToUnixSeconds(absl::Now()));
    return std::make_shared<Running>(Running{std::move(run), std::move(writer)});
  }

  void Complete(absl::StatusOr<ApiCall> call, httplib::Response& response) {
    absl::StatusOr<std::shared_ptr<Running>> begun = Begin(std::move(call));
    if (!begun.ok()) return SetError(begun.status(), response);
    const std::shared_ptr<Running> running = *std::move(begun);
    if (running->run->call().stream) return Stream(running, response);
    while (true) {
      const absl::StatusOr<std::optional<ChoiceDelta>> delta = running->run->Next();
      if (!delta.ok()) return SetError(delta.status(), response);
      if (!delta->has_value()) break;
      running->writer.Add(**delta);
    }
    response.set_content(running->writer.Body(running->run->prompt_tokens(), running->run->completion_tokens()), kJson);
  }

  // The status line is gone when an error comes: then the error is the stream's last event.
  static void Stream(const std::shared_ptr<Running>& running, httplib::Response& response) {
    response.set_header("Cache-Control", "no-cache");
    response.set_chunked_content_provider("text/event-stream", [running](size_t, httplib::DataSink& sink) {
      const absl::StatusOr<std::optional<ChoiceDelta>> delta = running->run->Next();
      std::string chunk;
      if (!delta.ok()) {
        chunk = absl::StrCat("data: ", ErrorBody(delta.status()), "\n\n");
      } else if (delta->has_value()) {
        chunk = running->writer.Chunk(**delta);
      } else {
        chunk = running->writer.LastChunks(running->run->prompt_tokens(), running->run->completion_tokens());
      }
      if (!sink.write(chunk.data(), chunk.size())) return false;
      if (!delta.ok() || !delta->has_value()) sink.done();
      return true;
    });
  }

  const ApiServerOptions options_;
  const ServedModel& model_;
  RequestQueue& queue_;
  TokenTexts texts_;
  httplib::Server server_;
  int port_ = 0;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiServer::~ApiServer() = default;
int ApiServer::port() const { return impl_->port(); }
std::string ApiServer::base_url() const { return impl_->base_url(); }

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(const ApiServerOptions& options, const ServedModel& model,
                                                            RequestQueue& queue) {
  auto impl = std::make_unique<Impl>(options, model, queue);
  MG_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

}  // namespace merganser

// The OpenAI-compatible endpoint of one model.
#ifndef MERGANSER_WORKER_SERVE_API_SERVER_H_
#define MERGANSER_WORKER_SERVE_API_SERVER_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/serve/request_queue.h"
#include "worker/serve/served_model.h"

namespace merganser {

struct ApiServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;                       // 0: any that is free
  std::string api_key;                // that requests must bear; "": none
  int connections = 64;               // answered at a time; more wait
  size_t body_bytes_max = 16u << 20;  // of a request
};

// GET /v1/models, /v1/models/NAME, /tokenizer_info, /health; POST /v1/completions, /v1/chat/completions, /tokenize,
// /detokenize. Every request is one connection.
class ApiServer {
 public:
  // Listens and answers, on threads of its own, until it is destroyed; requests go through `queue`, which somebody else
  // works on and closes before the server is destroyed. All arguments outlive the server. InvalidArgument: an option out of
  // range; Unavailable: the address cannot be listened at.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(const ApiServerOptions& options, const ServedModel& model,
                                                          RequestQueue& queue);
  ~ApiServer();

  int port() const;
  // "http://127.0.0.1:8000/v1"
  std::string base_url() const;

 private:
  class Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_API_SERVER_H_

// A request as the small HTTP server (http_server.h) hands it to a handler.
#ifndef MERGANSER_COMMON_RPC_HTTP_REQUEST_H_
#define MERGANSER_COMMON_RPC_HTTP_REQUEST_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

struct HttpRequest {
  std::string method;                          // "GET", "HEAD", "POST"
  std::string path;                            // as sent, without what follows '?': "/api/jobs/job-7"
  std::map<std::string, std::string> query;    // decoded; of a repeated name the last
  std::map<std::string, std::string> headers;  // names in lower case, values without surrounding blanks
  std::string body;

  // "" if there is none.
  std::string Query(const std::string& name) const;
  std::string Header(const std::string& name) const;
  // The number that the query's `name` holds; `fallback` if it is absent; nullopt if it is no whole number in [low, high].
  std::optional<int64_t> QueryNumber(const std::string& name, int64_t fallback, int64_t low, int64_t high) const;
};

// Parses the head of a request (request line and headers, up to the blank line). nullopt: it is not HTTP/1.
std::optional<HttpRequest> ParseRequestHead(absl::string_view head);

// "a%20b+c" -> "a b c"; a '%' that no two hexadecimal digits follow stays.
std::string DecodeUrl(absl::string_view text);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_HTTP_REQUEST_H_

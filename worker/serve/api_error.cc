#include "worker/serve/api_error.h"

#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace merganser {
namespace {

constexpr char kParam[] = "merganser/param";
constexpr char kCode[] = "merganser/code";

nlohmann::json Payload(const absl::Status& status, absl::string_view url) {
  const absl::optional<absl::Cord> value = status.GetPayload(url);
  return value.has_value() ? nlohmann::json(std::string(*value)) : nlohmann::json(nullptr);
}

absl::string_view Type(int http_status) {
  switch (http_status) {
    case 400:
    case 401:
    case 404:
      return "invalid_request_error";
    case 429:
      return "rate_limit_error";
    default:
      return "server_error";
  }
}

}  // namespace

absl::Status ParamError(absl::string_view param, absl::string_view message, absl::string_view code) {
  absl::Status status = absl::InvalidArgumentError(absl::StrCat(param, " ", message));
  status.SetPayload(kParam, absl::Cord(param));
  if (!code.empty()) status.SetPayload(kCode, absl::Cord(code));
  return status;
}

absl::Status KeyError() {
  absl::Status status = absl::UnauthenticatedError("the API key is missing or wrong: send 'Authorization: Bearer KEY'");
  status.SetPayload(kCode, absl::Cord("invalid_api_key"));
  return status;
}

int HttpStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

std::string ErrorBody(const absl::Status& status) {
  const nlohmann::ordered_json body = {{"error",
                                        {{"message", std::string(status.message())},
                                         {"type", std::string(Type(HttpStatus(status)))},
                                         {"param", Payload(status, kParam)},
                                         {"code", Payload(status, kCode)}}}};
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace merganser

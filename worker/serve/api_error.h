// Errors as OpenAI's API words them.
#ifndef MERGANSER_WORKER_SERVE_API_ERROR_H_
#define MERGANSER_WORKER_SERVE_API_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace merganser {

// InvalidArgument about one argument of a request. `code` is for programs ("context_length_exceeded"); may be empty.
absl::Status ParamError(absl::string_view param, absl::string_view message, absl::string_view code = "");

// Unauthenticated.
absl::Status KeyError();

// The status line's number: 400, 401, 404, 429, 503 or 500.
int HttpStatus(const absl::Status& status);

// {"error": {"message", "type", "param", "code"}}
std::string ErrorBody(const absl::Status& status);

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_API_ERROR_H_

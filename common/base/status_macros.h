// MG_RETURN_IF_ERROR and MG_ASSIGN_OR_RETURN: early return of an absl::Status, and Annotate to add context on the way up.
#ifndef MERGANSER_COMMON_BASE_STATUS_MACROS_H_
#define MERGANSER_COMMON_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace merganser {

// `status` with "context: " before its message; OK stays OK. The code is kept: callers decide by code, never by text.
inline absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace merganser

#define MG_CONCAT_INNER_(a, b) a##b
#define MG_CONCAT_(a, b) MG_CONCAT_INNER_(a, b)

#define MG_RETURN_IF_ERROR(expr)             \
  do {                                       \
    ::absl::Status mg_status_ = (expr);      \
    if (!mg_status_.ok()) return mg_status_; \
  } while (false)

#define MG_ASSIGN_OR_RETURN(lhs, expr) MG_ASSIGN_OR_RETURN_(MG_CONCAT_(mg_or_, __LINE__), lhs, expr)
#define MG_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                         \
  if (!tmp.ok()) return tmp.status();        \
  lhs = std::move(tmp).value()

#endif  // MERGANSER_COMMON_BASE_STATUS_MACROS_H_

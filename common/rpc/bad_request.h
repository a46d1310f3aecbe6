// google.rpc.BadRequest, so that programs need not read the message of an error to know which field is wrong.
#ifndef MERGANSER_COMMON_RPC_BAD_REQUEST_H_
#define MERGANSER_COMMON_RPC_BAD_REQUEST_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace merganser {

// Our InvalidArgument errors begin with the field's path: "budget.candidates: 3 is below the 30 that are proposed already".
// Gives such a status the field as a detail (error_details.h); every other one stays as it is.
void AddFieldViolation(absl::Status* status);
// The field and what is wrong with it, of the first violation that the status holds.
std::optional<std::pair<std::string, std::string>> FieldViolationOf(const absl::Status& status);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_BAD_REQUEST_H_

// Details of an error as gRPC's richer error model carries them (google.rpc.Status in "grpc-status-details-bin"): payloads
// of an absl::Status, by type URL. Debian's gRPC ships no googleapis protos, so the few bytes are written here.
#ifndef MERGANSER_COMMON_RPC_ERROR_DETAILS_H_
#define MERGANSER_COMMON_RPC_ERROR_DETAILS_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace merganser {

// google.rpc.RetryInfo: the client may try again after `delay`, which is rounded up to a millisecond.
void SetRetryDelay(absl::Status* status, absl::Duration delay);
// nullopt: it has none, or a damaged one.
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

// google.rpc.BadRequest, so that programs need not read the message of an error to know which field is wrong: our
// InvalidArgument errors begin with the field's path ("budget.candidates: 3 is below the 30 that are proposed already").
// Gives such a status the field; every other one stays as it is.
void AddFieldViolation(absl::Status* status);
// The field and what is wrong with it, of the first violation that the status holds.
std::optional<std::pair<std::string, std::string>> FieldViolationOf(const absl::Status& status);

// A longer message, such as one that repeats what a client has sent, does not fit the trailers of a call (8 KiB, escaped and
// in the details once more), and the client would learn nothing. Gives the status the first kStatusMessageBytesMax bytes of
// its message, whole characters, and how many are left out.
inline constexpr size_t kStatusMessageBytesMax = 2000;
void BoundMessage(absl::Status* status);

// The status with its payloads as google.rpc.Status; "" if it has none.
std::string EncodeErrorDetails(const absl::Status& status);
// Gives `status` the payloads in `details`; what is damaged or of no use is left out.
void DecodeErrorDetails(absl::string_view details, absl::Status* status);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_ERROR_DETAILS_H_

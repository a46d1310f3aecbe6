// Details of an error as gRPC's richer error model carries them (google.rpc.Status in "grpc-status-details-bin"): payloads
// of an absl::Status, by type URL. Debian's gRPC ships no googleapis protos, so the few bytes are written here.
#ifndef MERGANSER_COMMON_RPC_ERROR_DETAILS_H_
#define MERGANSER_COMMON_RPC_ERROR_DETAILS_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace merganser {

// google.rpc.RetryInfo: the client may try again after `delay`, which is rounded up to a millisecond.
void SetRetryDelay(absl::Status* status, absl::Duration delay);
// nullopt: it has none, or a damaged one.
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

// The status with its payloads as google.rpc.Status; "" if it has none.
std::string EncodeErrorDetails(const absl::Status& status);
// Gives `status` the payloads in `details`; what is damaged or of no use is left out.
void DecodeErrorDetails(absl::string_view details, absl::Status* status);

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_ERROR_DETAILS_H_

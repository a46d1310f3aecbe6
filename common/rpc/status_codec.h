// absl::Status <-> grpc::Status: the same code (their numbers are equal), message and details (error_details.h),
// the message to kStatusMessageBytesMax.
#ifndef MERGANSER_COMMON_RPC_STATUS_CODEC_H_
#define MERGANSER_COMMON_RPC_STATUS_CODEC_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "common/rpc/error_details.h"

namespace merganser {

inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  absl::Status bounded = status;
  BoundMessage(&bounded);
  return grpc::Status(static_cast<grpc::StatusCode>(bounded.code()), std::string(bounded.message()),
                      EncodeErrorDetails(bounded));
}

inline absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status error(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  DecodeErrorDetails(status.error_details(), &error);
  return error;
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_STATUS_CODEC_H_

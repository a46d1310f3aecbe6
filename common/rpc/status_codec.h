// absl::Status <-> grpc::Status: the same code (their numbers are equal) and the same message.
#ifndef MERGANSER_COMMON_RPC_STATUS_CODEC_H_
#define MERGANSER_COMMON_RPC_STATUS_CODEC_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"

namespace merganser {

inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

inline absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_STATUS_CODEC_H_

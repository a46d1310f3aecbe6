#include "worker/agent/failure_class.h"

namespace merganser {

FailureClass FailureClassOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kOutOfRange:
      return FailureClass::kInfeasible;
    case absl::StatusCode::kAborted:  // the process that evaluates died
      return FailureClass::kCrashed;
    case absl::StatusCode::kResourceExhausted:
      return FailureClass::kOutOfMemory;
    case absl::StatusCode::kUnavailable:
      return FailureClass::kUnavailable;
    default:
      return FailureClass::kTransient;
  }
}

}  // namespace merganser

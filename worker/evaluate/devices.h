// Resolves LocalOptions: the device, the type of computation and the threads that "auto" and 0 stand for on this machine.
#ifndef MERGANSER_WORKER_EVALUATE_DEVICES_H_
#define MERGANSER_WORKER_EVALUATE_DEVICES_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/engine_options.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// The engine's device. InvalidArgument for a name that is none; FailedPrecondition if that device is not there.
absl::StatusOr<std::string> DeviceOf(const LocalOptions& options);

// What `compute` means on `device`, which DeviceOf gave. InvalidArgument for a name that is none.
absl::StatusOr<ComputeType> ComputeOf(const LocalOptions& options, const std::string& device);

// CPU threads, at least 1: as asked for, or all processors that the process may use.
int ThreadsOf(const LocalOptions& options);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_DEVICES_H_

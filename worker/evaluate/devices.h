// Resolves LocalOptions: the device, the type of computation and the threads that "auto" and 0 stand for on this machine.
#ifndef MERGANSER_WORKER_EVALUATE_DEVICES_H_
#define MERGANSER_WORKER_EVALUATE_DEVICES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/engine_options.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// The engine's device. InvalidArgument for a name that is none; FailedPrecondition if that device is not there.
absl::StatusOr<std::string> DeviceOf(const LocalOptions& options);

// What `compute` means on `device`, which DeviceOf gave. InvalidArgument for a name that is none.
absl::StatusOr<ComputeType> ComputeOf(const LocalOptions& options, const std::string& device);

// Sequences that are generated together on `device`: as asked for, else the engine's default. On a GPU, whose steps take
// hardly longer for more, up to 256 of `samples` (those of the largest benchmark); the engine makes do with less memory.
int SequencesOf(const LocalOptions& options, const std::string& device, int64_t samples);

// CPU threads, at least 1: as asked for, or all processors that the process may use.
int ThreadsOf(const LocalOptions& options);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_DEVICES_H_

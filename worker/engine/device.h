// Names of devices, and the CUDA half of libtorch, which is loaded only when a CUDA device is asked
// for.
#ifndef MERGANSER_WORKER_ENGINE_DEVICE_H_
#define MERGANSER_WORKER_ENGINE_DEVICE_H_

#include <ATen/ATen.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// "cpu", "cuda" (device 0) or "cuda:N"; InvalidArgument for anything else. Loads nothing.
absl::StatusOr<c10::Device> ParseDevice(absl::string_view name);

// Makes `device` usable: for a CUDA device loads libtorch_cuda.so, which lies beside
// libtorch_cpu.so, and checks that the device is there. FailedPrecondition saying what is missing
// (library, driver, or device with the number of those found). May be called more than once and
// from any thread.
absl::Status PrepareDevice(c10::Device device);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_DEVICE_H_

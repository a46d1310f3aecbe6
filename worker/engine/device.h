// Names of devices, and the CUDA half of libtorch, which is loaded only when a CUDA device is asked
// for.
#ifndef MERGANSER_WORKER_ENGINE_DEVICE_H_
#define MERGANSER_WORKER_ENGINE_DEVICE_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// "cpu", "cuda" (device 0) or "cuda:N"; InvalidArgument for anything else. Loads nothing.
absl::StatusOr<c10::Device> ParseDevice(absl::string_view name);

// Makes `device` usable: for a CUDA device loads libtorch_cuda.so, which lies beside
// libtorch_cpu.so, and checks that the device is there. FailedPrecondition saying what is missing
// (library, driver, or device with the number of those found). May be called more than once and
// from any thread; torch's own questions about CUDA (at::hasCUDA and the like) come after it, never before.
absl::Status PrepareDevice(c10::Device device);

// Bytes of a CUDA device's memory that nobody uses; nullopt where this libtorch cannot tell. With `give_back`, after what
// libtorch keeps for later was given back, which must not be while a step is recorded (step_graph.h). REQUIRES:
// PrepareDevice(device) was OK.
std::optional<int64_t> FreeMemory(c10::Device device, bool give_back = false);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_DEVICE_H_

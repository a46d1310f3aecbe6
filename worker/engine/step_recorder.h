// The recorder of a device's steps.
#ifndef MERGANSER_WORKER_ENGINE_STEP_RECORDER_H_
#define MERGANSER_WORKER_ENGINE_STEP_RECORDER_H_

#include <ATen/ATen.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/engine/step_graph.h"

namespace merganser {

// CUDA graphs for a CUDA device, through libmerganser-cuda.so, which lies beside the library (or program) that this is
// linked into or in lib/ beside its folder, and stays loaded; the twin for the CPU. FailedPrecondition: that library is
// missing or does not fit; Internal: the device refuses. REQUIRES: PrepareDevice(device) was OK. From any thread.
absl::StatusOr<std::unique_ptr<StepRecorder>> MakeStepRecorder(c10::Device device);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_STEP_RECORDER_H_

// Where candidates are merged: by the CPU, or by the engine's device in its own memory.
#ifndef MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_
#define MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/device_merge/device_merger.h"
#include "worker/merge/materializer.h"

namespace merganser {

// The merger of `device`, the engine's; null: the CPU merges. By the environment:
//   MERGANSER_MERGE               "host" (the CPU; the engine copies the weights), "device", or "auto" (as unset): the
//   device where
//                                 that is a GPU
//   MERGANSER_MERGE_RESIDENT_MIB  most of the device's memory that sources stay in, the others stream; unset: what is free
//   and not
//                                 among the `candidate_bytes` that arena and engine take, less a tenth (0 where this
//                                 libtorch cannot tell); on the CPU, in whose memory they are, all
// InvalidArgument: a value that is none of these. Otherwise the errors of DeviceMerger::Create.
absl::StatusOr<std::unique_ptr<DeviceMerger>> PlaceMerge(Materializer& materializer, const std::string& device,
                                                         int64_t candidate_bytes);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_

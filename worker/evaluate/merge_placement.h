// Where candidates are merged: by the CPU, or by the engine's device in its own memory.
#ifndef MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_
#define MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/device_merge/device_merger.h"
#include "worker/evaluate/local_library.h"
#include "worker/merge/materializer.h"

namespace merganser {

// The merger of `device`, the engine's, as `options` say (merge, merge_resident_mib); null: the CPU merges, and the engine
// copies the weights. `candidate_bytes`: what arena and engine take of the device's memory. InvalidArgument: an option that
// is none. Otherwise the errors of DeviceMerger::Create.
absl::StatusOr<std::unique_ptr<DeviceMerger>> PlaceMerge(Materializer& materializer, const LocalOptions& options,
                                                         const std::string& device, int64_t candidate_bytes);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_

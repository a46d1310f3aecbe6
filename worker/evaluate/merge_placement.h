// Where candidates are merged: by the CPU, or by the engine's device in its own memory.
#ifndef MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_
#define MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_

#include <cstdint>
#include <functional>
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

// What ModelsAhead asks before it makes arenas, as `options` say (merge, merge_ahead); null: nothing is merged ahead. Where
// a GPU merges, what is free of its memory, less a tenth (0 where this libtorch cannot tell); else what this process may
// still take of the machine's memory, or of its control group's, less `source_bytes`: every merge reads the mapped sources,
// so they are to stay in memory. InvalidArgument: an option that is none.
absl::StatusOr<std::function<int64_t()>> RoomAhead(const LocalOptions& options, const std::string& device,
                                                   int64_t source_bytes);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_MERGE_PLACEMENT_H_

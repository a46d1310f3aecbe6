// What a merge on a device had to move.
#ifndef MERGANSER_WORKER_DEVICE_MERGE_MERGE_TRAFFIC_H_
#define MERGANSER_WORKER_DEVICE_MERGE_MERGE_TRAFFIC_H_

#include <cstdint>

namespace merganser {

// Of one merge, in bytes.
struct MergeTraffic {
  int64_t needed = 0;          // each element of the base and the sources once, each of the result once
  int64_t host_to_device = 0;  // what streamed: sources that do not stay on the device, masks, results that the CPU computed
  bool operator==(const MergeTraffic&) const = default;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_DEVICE_MERGE_MERGE_TRAFFIC_H_

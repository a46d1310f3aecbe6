// Merges a candidate in a device's memory, by ATen operations over chunks of each tensor: sources that fit stay there, the
// others stay in host memory (pinned, for CUDA, where it can be) and stream through, so that models larger than the device
// can be merged on it.
#ifndef MERGANSER_WORKER_DEVICE_MERGE_DEVICE_MERGER_H_
#define MERGANSER_WORKER_DEVICE_MERGE_DEVICE_MERGER_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/device_merge/device_arena.h"
#include "worker/device_merge/merge_traffic.h"
#include "worker/merge/materializer.h"

namespace merganser {

struct DeviceMergeOptions {
  std::string device = "cpu";  // "cpu", "cuda" or "cuda:N"
  // Bytes of the device's memory that sources may stay in. The arena, and a chunk of each source and three more in fp32,
  // come on top.
  int64_t resident_bytes_max = 0;
  int64_t chunk_elements = int64_t{1} << 22;  // a positive multiple of 8; the result does not depend on it
};

// Not thread-safe: one call at a time.
class DeviceMerger {
 public:
  // `materializer` (whose statistics and, for what ATen does not compute here, whose merge are used) must outlive it.
  // InvalidArgument: options out of range; that and FailedPrecondition of the device; ResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<DeviceMerger>> Create(Materializer& materializer, const DeviceMergeOptions& options);

  // Writes the plan's weights into `arena`: the bits of Materializer::Run where the device rounds as IEEE 754 says, else
  // within one unit in the last place of the arena's types. A device with streams works on one of the merger's own, after
  // what the caller's stream holds so far and beside what it or another thread's gets meanwhile; it has ended when Run
  // returns. Errors are those of Materializer::Run, and ResourceExhausted.
  absl::Status Run(const MergePlan& plan, DeviceArena& arena, std::stop_token stop = {});

  const std::string& device() const { return options_.device; }
  // Of the last Run.
  const MergeTraffic& traffic() const { return traffic_; }
  // Bytes of sources that stay on the device.
  int64_t resident_bytes() const { return resident_bytes_; }

 private:
  DeviceMerger(Materializer& materializer, const DeviceMergeOptions& options)
      : materializer_(materializer), sources_(materializer.sources()), options_(options) {}

  absl::Status Place(c10::Device device);
  absl::Status RunHere(const MergePlan& plan, DeviceArena& arena, const std::stop_token& stop);
  absl::Status RunOnCpu(const MergePlan& plan, DeviceArena& arena, const std::stop_token& stop);
  absl::Status RunInChunks(const MergePlan& plan, const CandidateTerms& terms, DeviceArena& arena,
                           const std::stop_token& stop);
  // Elements [first, first + count) in fp32 on the device; the caller's to overwrite.
  at::Tensor Load(int model, int tensor, int64_t first, int64_t count);

  struct Placed {
    at::Tensor values;  // flat, in its own type
    bool resident = false;
  };

  Materializer& materializer_;
  const std::shared_ptr<const MergeSources> sources_;
  const DeviceMergeOptions options_;
  std::vector<std::vector<Placed>> placed_;  // [model][tensor]
  int64_t resident_bytes_ = 0;
  std::optional<c10::Stream> stream_;  // none: the CPU
  MergeTraffic traffic_;
  std::unique_ptr<Arena> host_arena_;  // for what the CPU computes; made when it is needed
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_DEVICE_MERGE_DEVICE_MERGER_H_

#include "worker/evaluate/merge_placement.h"

#include <algorithm>
#include <cstdint>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/engine/device.h"

namespace merganser {
namespace {

constexpr int64_t kMibMax = int64_t{1} << 30;

// Bytes of the device's memory that nobody uses.
int64_t FreeBytes(const std::string& device) {
  const absl::StatusOr<c10::Device> parsed = ParseDevice(device);
  return parsed.ok() ? FreeMemory(*parsed).value_or(0) : 0;
}

// Bytes of memory that this process may still take; 0 if nothing is known.
int64_t AvailableMemory() {
  int64_t machine = 0;
  std::ifstream info("/proc/meminfo");
  for (std::string word; info >> word;) {
    if (word == "MemAvailable:" && info >> machine) break;
  }
  machine <<= 10;
  // Where there is no bound the file says "max", which is no number.
  int64_t bound = 0, used = 0;
  if (!(std::ifstream("/sys/fs/cgroup/memory.max") >> bound)) return machine;
  std::ifstream("/sys/fs/cgroup/memory.current") >> used;
  return std::min(machine, std::max<int64_t>(0, bound - used));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMerger>> PlaceMerge(Materializer& materializer, const LocalOptions& local,
                                                         const std::string& device, int64_t candidate_bytes) {
  const std::string& place = local.merge;
  if (place != "auto" && place != "host" && place != "device") {
    return absl::InvalidArgumentError(
        absl::StrCat("merge: unknown place '", place, "'", DidYouMean(place, {"auto", "host", "device"})));
  }
  if (const auto mib = local.merge_resident_mib; mib && (*mib < 0 || *mib > kMibMax)) {
    return absl::InvalidArgumentError(absl::StrCat("merge_resident_mib: ", *mib, " is not in [0, ", kMibMax, "]"));
  }
  if (place == "host" || (place == "auto" && device == "cpu")) return nullptr;
  DeviceMergeOptions options;
  options.device = device;
  if (local.merge_resident_mib.has_value()) {
    options.resident_bytes_max = *local.merge_resident_mib << 20;
  } else if (device == "cpu") {
    options.resident_bytes_max = INT64_MAX;
  } else {
    const int64_t chunks = 4 * options.chunk_elements * static_cast<int64_t>(materializer.sources()->names().size() + 3);
    const int64_t free = FreeBytes(device);
    options.resident_bytes_max = std::max<int64_t>(0, free - free / 10 - candidate_bytes - chunks);
  }
  return DeviceMerger::Create(materializer, options);
}

absl::StatusOr<std::function<int64_t()>> RoomAhead(const LocalOptions& local, const std::string& device,
                                                   int64_t source_bytes) {
  const std::string& when = local.merge_ahead;
  if (when != "auto" && when != "on" && when != "off") {
    return absl::InvalidArgumentError(
        absl::StrCat("merge_ahead: unknown choice '", when, "'", DidYouMean(when, {"auto", "on", "off"})));
  }
  if (when == "off" || (when == "auto" && device == "cpu")) return nullptr;
  if (local.merge == "host" || device == "cpu") return [source_bytes] { return AvailableMemory() - source_bytes; };
  return [device] {
    const int64_t free = FreeBytes(device);
    return free - free / 10;
  };
}

}  // namespace merganser

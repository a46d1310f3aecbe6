#include "worker/evaluate/devices.h"

#include <sched.h>

#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/engine/device.h"

namespace merganser {

absl::StatusOr<std::string> DeviceOf(const LocalOptions& options) {
  if (options.device == "auto") {
    const absl::StatusOr<c10::Device> cuda = ParseDevice("cuda");
    return cuda.ok() && PrepareDevice(*cuda).ok() ? "cuda:0" : "cpu";
  }
  MG_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(options.device));
  MG_RETURN_IF_ERROR(PrepareDevice(device));
  return options.device;
}

int ThreadsOf(const LocalOptions& options) {
  if (options.threads > 0) return options.threads;
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

}  // namespace merganser

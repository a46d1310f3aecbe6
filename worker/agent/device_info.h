// What the worker's device is, without loading what computes on it.
#ifndef MERGANSER_WORKER_AGENT_DEVICE_INFO_H_
#define MERGANSER_WORKER_AGENT_DEVICE_INFO_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace merganser {

struct DeviceInfo {
  std::string device;        // "cpu", "cuda:0"
  int64_t memory_bytes = 0;  // all of it; of the host for a CPU; 0: not known
  std::string pci_bus_id;    // "0000:17:00.0"; "" for a CPU, and where the driver does not say
};

// Of "cpu", "cuda", "cuda:N" or "auto" (the first GPU where there is one). Asks the CUDA driver; does not open the device.
DeviceInfo DescribeDevice(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_DEVICE_INFO_H_

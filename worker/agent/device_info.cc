#include "worker/agent/device_info.h"

#include <dlfcn.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace merganser {
namespace {

int64_t HostMemory() { return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE); }

// GPU `index` by the CUDA driver's own interface; no memory if there is no driver or no such GPU.
DeviceInfo Gpu(int index) {
  DeviceInfo info{absl::StrCat("cuda:", index), 0, ""};
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // stays loaded: it cannot be taken out again
  if (driver == nullptr) return info;
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  const auto get = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
  const auto total = reinterpret_cast<int (*)(size_t*, int)>(dlsym(driver, "cuDeviceTotalMem_v2"));
  const auto bus = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, "cuDeviceGetPCIBusId"));
  if (init == nullptr || count == nullptr || get == nullptr || total == nullptr || bus == nullptr) return info;
  int devices = 0, device = 0;
  size_t bytes = 0;
  char bus_id[32] = "";
  if (init(0) != 0 || count(&devices) != 0 || index >= devices) return info;
  if (get(&device, index) != 0 || total(&bytes, device) != 0) return info;
  info.memory_bytes = static_cast<int64_t>(bytes);
  if (bus(bus_id, sizeof(bus_id), device) == 0) info.pci_bus_id = bus_id;
  return info;
}

}  // namespace

DeviceInfo DescribeDevice(absl::string_view name) {
  if (name == "cpu") return {"cpu", HostMemory(), ""};
  if (name == "auto") {
    const DeviceInfo gpu = Gpu(0);
    return gpu.memory_bytes > 0 ? gpu : DeviceInfo{"cpu", HostMemory(), ""};
  }
  int index = 0;
  absl::string_view number = name;
  if (absl::ConsumePrefix(&number, "cuda:") && !absl::SimpleAtoi(number, &index)) return {std::string(name), 0, ""};
  return Gpu(index);
}

}  // namespace merganser

#include "worker/agent/device_info.h"

#include <dlfcn.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace merganser {
namespace {

int64_t HostMemory() { return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE); }

// Of GPU `index` by the CUDA driver's own interface; 0 if there is no driver or no such GPU.
int64_t GpuMemory(int index) {
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // stays loaded: it cannot be taken out again
  if (driver == nullptr) return 0;
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  const auto get = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
  const auto total = reinterpret_cast<int (*)(size_t*, int)>(dlsym(driver, "cuDeviceTotalMem_v2"));
  if (init == nullptr || count == nullptr || get == nullptr || total == nullptr) return 0;
  int devices = 0, device = 0;
  size_t bytes = 0;
  if (init(0) != 0 || count(&devices) != 0 || index >= devices) return 0;
  if (get(&device, index) != 0 || total(&bytes, device) != 0) return 0;
  return static_cast<int64_t>(bytes);
}

}  // namespace

DeviceInfo DescribeDevice(absl::string_view name) {
  if (name == "cpu") return {"cpu", HostMemory()};
  if (name == "auto") {
    if (const int64_t bytes = GpuMemory(0); bytes > 0) return {"cuda:0", bytes};
    return {"cpu", HostMemory()};
  }
  int index = 0;
  absl::string_view number = name;
  if (absl::ConsumePrefix(&number, "cuda:") && !absl::SimpleAtoi(number, &index)) return {std::string(name), 0};
  return {absl::StrCat("cuda:", index), GpuMemory(index)};
}

}  // namespace merganser

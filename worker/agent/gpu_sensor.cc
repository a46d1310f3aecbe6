#include "worker/agent/gpu_sensor.h"

#include <dlfcn.h>

namespace merganser {
namespace {

// nvml.h's, whose layout is part of its ABI.
struct NvmlMemory {
  unsigned long long total, free, used;
};
struct NvmlUtilization {
  unsigned int gpu, memory;  // percent
};
constexpr int kTemperatureGpu = 0;

template <typename Function>
Function* Symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

std::unique_ptr<GpuSensor> GpuSensor::Open(const std::string& pci_bus_id, const char* library) {
  if (pci_bus_id.empty()) return nullptr;
  void* const nvml = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (nvml == nullptr) return nullptr;
  const auto init = Symbol<int()>(nvml, "nvmlInit_v2");
  const auto find = Symbol<int(const char*, void**)>(nvml, "nvmlDeviceGetHandleByPciBusId_v2");
  void* device = nullptr;
  if (init == nullptr || find == nullptr || init() != 0 || find(pci_bus_id.c_str(), &device) != 0) return nullptr;
  return std::unique_ptr<GpuSensor>(new GpuSensor(nvml, device));
}

std::optional<GpuReading> GpuSensor::Read() const {
  const auto memory = Symbol<int(void*, NvmlMemory*)>(library_, "nvmlDeviceGetMemoryInfo");
  const auto utilization = Symbol<int(void*, NvmlUtilization*)>(library_, "nvmlDeviceGetUtilizationRates");
  const auto temperature = Symbol<int(void*, int, unsigned int*)>(library_, "nvmlDeviceGetTemperature");
  if (memory == nullptr || utilization == nullptr || temperature == nullptr) return std::nullopt;
  NvmlMemory bytes{};
  NvmlUtilization percent{};
  unsigned int celsius = 0;
  if (memory(device_, &bytes) != 0 || utilization(device_, &percent) != 0 ||
      temperature(device_, kTemperatureGpu, &celsius) != 0) {
    return std::nullopt;
  }
  return GpuReading{static_cast<int64_t>(bytes.used), static_cast<int64_t>(bytes.total), percent.gpu / 100.0,
                    static_cast<double>(celsius)};
}

}  // namespace merganser

// How full, busy and warm a GPU is, by the driver's management library (NVML), which is loaded if it is there.
#ifndef MERGANSER_WORKER_AGENT_GPU_SENSOR_H_
#define MERGANSER_WORKER_AGENT_GPU_SENSOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace merganser {

struct GpuReading {
  int64_t memory_used_bytes = 0;
  int64_t memory_total_bytes = 0;
  double busy = 0;  // share of the last sample period (up to a second) in which a kernel ran
  double celsius = 0;
};

// Not thread-safe.
class GpuSensor {
 public:
  // `pci_bus_id`: "0000:17:00.0", as the CUDA driver says (device_info.h); "": no GPU. nullptr without a GPU, and where the
  // library is missing or does not know it.
  static std::unique_ptr<GpuSensor> Open(const std::string& pci_bus_id, const char* library = "libnvidia-ml.so.1");

  // nullopt if the driver does not answer.
  std::optional<GpuReading> Read() const;

 private:
  GpuSensor(void* library, void* device) : library_(library), device_(device) {}

  void* const library_;  // stays loaded
  void* const device_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_GPU_SENSOR_H_

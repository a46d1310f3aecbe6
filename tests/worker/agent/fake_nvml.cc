// A stand-in for NVML: one GPU, at bus id 0000:17:00.0.
#include <cstring>

extern "C" {

int nvmlInit_v2() { return 0; }

int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  static int gpu;
  *device = &gpu;
  return std::strcmp(bus_id, "0000:17:00.0") == 0 ? 0 : 6;  // NVML_ERROR_NOT_FOUND
}

int nvmlDeviceGetMemoryInfo(void* /*device*/, unsigned long long* total_free_used) {
  total_free_used[0] = 80'000'000'000;
  total_free_used[1] = 50'000'000'000;
  total_free_used[2] = 30'000'000'000;
  return 0;
}

int nvmlDeviceGetUtilizationRates(void* /*device*/, unsigned int* gpu_memory) {
  gpu_memory[0] = 75;
  gpu_memory[1] = 20;
  return 0;
}

int nvmlDeviceGetTemperature(void* /*device*/, int sensor, unsigned int* celsius) {
  *celsius = 61;
  return sensor == 0 ? 0 : 2;  // NVML_ERROR_INVALID_ARGUMENT
}

}  // extern "C"

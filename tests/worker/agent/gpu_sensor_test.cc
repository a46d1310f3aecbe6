#include "worker/agent/gpu_sensor.h"

#include "gtest/gtest.h"
#include "worker/agent/device_info.h"
#include "worker/agent/worker_metrics.h"

namespace merganser {
namespace {

constexpr char kBus[] = "0000:17:00.0";

TEST(GpuSensorTest, ReadsMemoryLoadAndTemperature) {
  const auto sensor = GpuSensor::Open(kBus, FAKE_NVML);
  ASSERT_NE(sensor, nullptr);
  const auto reading = sensor->Read();
  ASSERT_TRUE(reading.has_value());
  EXPECT_EQ(reading->memory_used_bytes, 30'000'000'000);
  EXPECT_EQ(reading->memory_total_bytes, 80'000'000'000);
  EXPECT_EQ(reading->busy, 0.75);
  EXPECT_EQ(reading->celsius, 61);
}

TEST(GpuSensorTest, ThereIsNoneWithoutAGpuOrItsLibrary) {
  EXPECT_EQ(GpuSensor::Open("", FAKE_NVML), nullptr);
  EXPECT_EQ(GpuSensor::Open("0000:18:00.0", FAKE_NVML), nullptr) << "another GPU";
  EXPECT_EQ(GpuSensor::Open(kBus, "libno-such-library.so"), nullptr);
  EXPECT_EQ(GpuSensor::Open(kBus, "libm.so.6"), nullptr) << "another library";
}

TEST(GpuSensorTest, ACpuHasNoBusId) { EXPECT_EQ(DescribeDevice("cpu").pci_bus_id, ""); }

TEST(WorkerMetricsTest, AWorkerWithoutAGpuShowsNoSeriesOfOne) {
  WorkerMetrics metrics;
  const auto series = [&] {
    size_t count = 0;
    for (const auto& family : metrics.registry().Collect()) {
      if (family.name.rfind("merganser_gpu_", 0) == 0) count += family.metric.size();
    }
    return count;
  };
  EXPECT_EQ(series(), 0u);
  metrics.SetGpu(*GpuSensor::Open(kBus, FAKE_NVML)->Read());
  EXPECT_EQ(series(), 4u);
}

}  // namespace
}  // namespace merganser

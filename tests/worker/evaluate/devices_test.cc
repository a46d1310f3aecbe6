#include "worker/evaluate/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace merganser {
namespace {

TEST(DevicesTest, AGpuTakesAsManySequencesAsThereAreSamples) {
  LocalOptions options;
  const int least = EngineOptions{}.max_sequences;
  EXPECT_EQ(SequencesOf(options, "cpu", 250), least);
  EXPECT_EQ(SequencesOf(options, "cuda:0", 250), 250);
  EXPECT_EQ(SequencesOf(options, "cuda:0", 5000), 256);
  EXPECT_EQ(SequencesOf(options, "cuda:0", 0), least) << "commands alone say nothing of samples";
  options.max_sequences = 7;
  for (const char* device : {"cpu", "cuda:0"}) EXPECT_EQ(SequencesOf(options, device, 250), 7) << device;
}

TEST(DevicesTest, WhatIsNoDeviceOrNotThereIsSaid) {
  LocalOptions options;
  options.device = "cpu";
  EXPECT_EQ(*DeviceOf(options), "cpu");
  options.device = "gpu";
  EXPECT_EQ(DeviceOf(options).status().message(), "device 'gpu' is none of cpu, cuda, cuda:N");
  options.device = "cuda:127";
  EXPECT_EQ(DeviceOf(options).status().code(), absl::StatusCode::kFailedPrecondition);
  // One name for one device, here where there is none and where there is one.
  options.device = "cuda";
  if (const auto device = DeviceOf(options); device.ok()) EXPECT_EQ(*device, "cuda:0");
}

}  // namespace
}  // namespace merganser

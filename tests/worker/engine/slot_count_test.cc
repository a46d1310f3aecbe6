#include "worker/engine/slot_count.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/engine/engine_testing.h"

namespace merganser {
namespace {

using testing::HasSubstr;

constexpr int64_t kGib = int64_t{1} << 30;

// Mistral 7B's shape: 14.5 GB in bf16, 131,072 bytes of cache a position.
ModelConfig SevenB() {
  ModelConfig config;
  config.hidden_size = 4096;
  config.intermediate_size = 14336;
  config.num_layers = 32;
  config.num_heads = 32;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.vocab_size = 32000;
  return config;
}

constexpr int64_t kSlotBytes = int64_t{1024} * 131072;

TEST(SlotCountTest, ALargeDeviceHasRoomForAll) {
  const CacheBound bound = DeviceCacheBound(SevenB(), 139 * kGib, 2, 2048);
  EXPECT_GT(bound.bytes, 100 * kGib);
  EXPECT_LT(bound.bytes, (139 - 14 - 13) * kGib);
  EXPECT_EQ(*SequencesThatFit(256, kSlotBytes, 1024, bound), 256);
}

TEST(SlotCountTest, ASmallerDeviceGeneratesFewerTogether) {
  const CacheBound bound = DeviceCacheBound(SevenB(), 24 * kGib, 2, 2048);
  const int fit = *SequencesThatFit(256, kSlotBytes, 1024, bound);
  EXPECT_GT(fit, 30);
  EXPECT_LT(fit, 64);
  EXPECT_LE((fit + 1) * kSlotBytes, bound.bytes) << "and one for the shared prefix";
  EXPECT_GT((fit + 2) * kSlotBytes, bound.bytes);
  EXPECT_EQ(*SequencesThatFit(8, kSlotBytes, 1024, bound), 8);
  EXPECT_LT(DeviceCacheBound(SevenB(), 24 * kGib, 2, 65536).bytes, bound.bytes) << "a larger step takes more";
}

TEST(SlotCountTest, WhereNothingFitsTheMessageHasTheNumbers) {
  const CacheBound bound = DeviceCacheBound(SevenB(), 12 * kGib, 2, 2048);
  const auto none = SequencesThatFit(4, kSlotBytes, 1024, bound);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  const std::string message(none.status().message());
  EXPECT_THAT(message,
              testing::StartsWith("a key-value cache of 0 bytes (the device has 12884901888 bytes free, a candidate's "
                                  "weights take 14483464192, a step "));
  EXPECT_THAT(message, HasSubstr("is too small: two slots of 1024 positions need 268435456 bytes"));
}

}  // namespace
}  // namespace merganser

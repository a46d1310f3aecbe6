// Both forms of TIES' pass over stored bf16 values give the same bits.
#include "worker/merge/bf16_kernels.h"

#include <bit>
#include <vector>

#include "common/base/rng.h"
#include "gtest/gtest.h"
#include "worker/merge/trimmed_bf16.h"

namespace merganser {
namespace {

// bf16 values of all signs and of magnitudes that coincide now and then, zeros and subnormals among them.
std::vector<uint16_t> SomeValues(int64_t count, uint64_t seed) {
  Rng rng(seed, 0);
  std::vector<uint16_t> values(static_cast<size_t>(count));
  for (uint16_t& value : values) {
    const uint64_t draw = rng.NextU64();
    const auto magnitude = static_cast<uint16_t>(draw % 16 == 0 ? draw >> 8 & 7 : 0x3c00 + (draw >> 8 & 0x1ff));
    value = static_cast<uint16_t>(magnitude | (draw >> 32 & 1) << 15);
  }
  return values;
}

const std::byte* Bytes(const std::vector<uint16_t>& values) { return reinterpret_cast<const std::byte*>(values.data()); }

TEST(BF16KernelsTest, WideRegistersMergeTrimmedSourcesToTheSameBits) {
  for (const int64_t count : {1, 31, 32, 33, 100, 1000}) {
    const std::vector<uint16_t> base = SomeValues(count, 1);
    for (int sources = 1; sources <= kBF16SourcesMax; ++sources) {
      std::vector<std::vector<uint16_t>> models;
      std::vector<TrimmedSource> trimmed;
      for (int s = 0; s < sources; ++s) models.push_back(SomeValues(count, 2 + s));
      for (int s = 0; s < sources; ++s) {
        const float threshold = s == 0 ? 0.0f : 0.01f;
        trimmed.push_back(
            {Bytes(models[s]), std::bit_cast<uint32_t>(threshold), s == 2 ? 1.25f : 1.0f, s == 1 ? -0.7f : 0.3f});
      }
      for (const bool normalize : {false, true}) {
        std::vector<uint16_t> narrow(count), wide(count);
        const auto merge = [&](auto kernel, std::vector<uint16_t>& out) {
          return kernel(Bytes(base), trimmed.data(), sources, normalize, 0.9f, count,
                        reinterpret_cast<std::byte*>(out.data()));
        };
        EXPECT_TRUE(merge(MergeBySignBF16, narrow));
        EXPECT_TRUE(merge(MergeTrimmedBySignBF16, wide));
        EXPECT_EQ(wide, narrow) << count << " elements, " << sources << " sources";
      }
    }
  }
}

TEST(BF16KernelsTest, WideRegistersTellOfWhatIsNotFinite) {
  const std::vector<uint16_t> base(70, 0);
  for (const size_t at : {0, 21, 69}) {
    for (const uint16_t value : {0x7f80, 0xff80, 0x7fc0, 0x7f7f}) {  // infinities, NaN, the largest number
      std::vector<uint16_t> source(70, 0x3f80), narrow(70), wide(70);
      source[at] = value;
      const TrimmedSource trimmed{Bytes(source), 0, 1, 1};
      const bool finite =
          MergeBySignBF16(Bytes(base), &trimmed, 1, false, 1.01f, 70, reinterpret_cast<std::byte*>(narrow.data()));
      EXPECT_EQ(
          MergeTrimmedBySignBF16(Bytes(base), &trimmed, 1, false, 1.01f, 70, reinterpret_cast<std::byte*>(wide.data())),
          finite);
      EXPECT_EQ(finite, value == 0x7fc0) << "a NaN agrees with no sign";
      EXPECT_EQ(wide, narrow) << value << " at " << at;
    }
  }
}

}  // namespace
}  // namespace merganser

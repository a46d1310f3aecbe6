#include "worker/merge/masks.h"

#include <algorithm>

#include "common/base/rng.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

constexpr int kLanes = MaskStream::kFillWords / 4;  // counters computed side by side

uint64_t SplitMix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// common/base/rng.h Philox4x32 for kLanes consecutive counters.
MG_MULTIVERSION void PhiloxLanes(uint64_t key, uint64_t counter, uint64_t counter_high,
                                 uint32_t* __restrict words) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    c0[l] = static_cast<uint32_t>(counter + l);
    c1[l] = static_cast<uint32_t>((counter + l) >> 32);
    c2[l] = static_cast<uint32_t>(counter_high);
    c3[l] = static_cast<uint32_t>(counter_high >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma GCC unroll 1  // unrolled, the lanes are no longer seen as a vector loop: half the speed
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 1
    for (int l = 0; l < kLanes; ++l) {
      const uint64_t p0 = uint64_t{0xD2511F53} * c0[l];
      const uint64_t p1 = uint64_t{0xCD9E8D57} * c2[l];
      c0[l] = static_cast<uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      c2[l] = static_cast<uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(p1);
      c3[l] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int l = 0; l < kLanes; ++l) {
    words[4 * l] = c0[l];
    words[4 * l + 1] = c1[l];
    words[4 * l + 2] = c2[l];
    words[4 * l + 3] = c3[l];
  }
}

}  // namespace

MaskStream MaskStream::For(uint64_t mask_seed, absl::string_view model, absl::string_view tensor) {
  return {SplitMix64(mask_seed + 0x9e3779b97f4a7c15u * StableHash64(model)), StableHash64(tensor)};
}

void MaskStream::Fill(int64_t first, int64_t count, uint32_t* words) const {
  for (int64_t i = 0; i < count; i += kFillWords) {
    PhiloxLanes(key, static_cast<uint64_t>(first + i) / 4, counter_high, words + i);
  }
}

MaskRule MaskRule::For(double density) {
  const uint64_t kept = static_cast<uint64_t>(density * 0x1p32);
  if (kept >= (uint64_t{1} << 32)) return {Kind::kAll, 0};
  if (kept == 0) return {Kind::kNone, 0};
  return {Kind::kSome, static_cast<uint32_t>(kept - 1)};
}

RankedMask RankedMask::For(double density, double epsilon, int64_t row, bool rescale) {
  if (density >= 1) return {MaskRule::Kind::kAll};
  if (density <= 0) return {MaskRule::Kind::kNone};
  if (row < 2) return {MaskRule::Kind::kSome, static_cast<float>(density), 0, rescale};
  return {MaskRule::Kind::kSome, static_cast<float>(density - epsilon),
          static_cast<float>(2 * epsilon / static_cast<double>(row - 1)), rescale};
}

}  // namespace merganser

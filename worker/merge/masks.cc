#include "worker/merge/masks.h"

#include <algorithm>
#include <cstring>

#include "common/base/rng.h"
#include "worker/merge/avx2.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

constexpr int kLanes = MaskStream::kFillWords / 4;  // counters computed side by side

uint64_t SplitMix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;  // common/base/rng.h
constexpr uint32_t kBump0 = 0x9E3779B9, kBump1 = 0xBB67AE85;

// common/base/rng.h Philox4x32 for kLanes consecutive counters.
MG_MULTIVERSION void PhiloxLanes(uint64_t key, uint64_t counter, uint64_t counter_high, uint32_t* __restrict words) {
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
      const uint64_t p0 = uint64_t{kMultiplier0} * c0[l];
      const uint64_t p1 = uint64_t{kMultiplier1} * c2[l];
      c0[l] = static_cast<uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      c2[l] = static_cast<uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(p1);
      c3[l] = static_cast<uint32_t>(p0);
    }
    k0 += kBump0;
    k1 += kBump1;
  }
  for (int l = 0; l < kLanes; ++l) {
    words[4 * l] = c0[l];
    words[4 * l + 1] = c1[l];
    words[4 * l + 2] = c2[l];
    words[4 * l + 3] = c3[l];
  }
}

#ifdef MG_AVX2
// Four counters, each word in the lower half of a 64-bit lane. The upper halves hold rubbish, which multiplication ignores.
struct Counters {
  __m256i c0, c1, c2, c3;
};

MG_TARGET_AVX2 inline Counters CountersFrom(uint64_t counter, uint64_t counter_high) {
  // In this order unpacking gives the words in theirs.
  const __m256i low = _mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(counter)), _mm256_setr_epi64x(0, 2, 1, 3));
  return {low, _mm256_srli_epi64(low, 32), _mm256_set1_epi64x(static_cast<int64_t>(counter_high)),
          _mm256_set1_epi64x(static_cast<int64_t>(counter_high >> 32))};
}

MG_TARGET_AVX2 inline void Round(__m256i k0, __m256i k1, Counters& c) {
  const __m256i p0 = _mm256_mul_epu32(c.c0, _mm256_set1_epi64x(kMultiplier0));
  const __m256i p1 = _mm256_mul_epu32(c.c2, _mm256_set1_epi64x(kMultiplier1));
  c.c0 = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_xor_si256(c.c1, k0));
  c.c2 = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_xor_si256(c.c3, k1));
  c.c1 = p1;
  c.c3 = p0;
}

// Words 0 to 7 and 8 to 15 of the four counters.
MG_TARGET_AVX2 inline void Unpack(const Counters& c, __m256i& first, __m256i& second) {
  const __m256i c01 = _mm256_blend_epi32(c.c0, _mm256_slli_epi64(c.c1, 32), 0xaa);
  const __m256i c23 = _mm256_blend_epi32(c.c2, _mm256_slli_epi64(c.c3, 32), 0xaa);
  first = _mm256_unpacklo_epi64(c01, c23);
  second = _mm256_unpackhi_epi64(c01, c23);
}

MG_TARGET_AVX2 inline uint32_t AtMost(__m256i words, __m256i limit) {
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_min_epu32(words, limit), words))));
}

// kFillWords words, as such or as bits: eight counters at a time, whose rounds overlap.
template <bool kBits>
MG_TARGET_AVX2 void FillAvx2(const MaskStream& stream, uint64_t counter, uint32_t limit, void* out) {
  constexpr int kWords = 32;
  const __m256i limits = _mm256_set1_epi32(static_cast<int>(limit));
  for (int at = 0; at < MaskStream::kFillWords; at += kWords, counter += kWords / 4) {
    Counters a = CountersFrom(counter, stream.counter_high), b = CountersFrom(counter + 4, stream.counter_high);
    uint32_t k0 = static_cast<uint32_t>(stream.key), k1 = static_cast<uint32_t>(stream.key >> 32);
    for (int round = 0; round < 10; ++round, k0 += kBump0, k1 += kBump1) {
      const __m256i key0 = _mm256_set1_epi32(static_cast<int>(k0)), key1 = _mm256_set1_epi32(static_cast<int>(k1));
      Round(key0, key1, a);
      Round(key0, key1, b);
    }
    __m256i words[4];
    Unpack(a, words[0], words[1]);
    Unpack(b, words[2], words[3]);
    if constexpr (kBits) {
      const uint32_t bits = AtMost(words[0], limits) | AtMost(words[1], limits) << 8 | AtMost(words[2], limits) << 16 |
                            AtMost(words[3], limits) << 24;
      std::memcpy(static_cast<uint8_t*>(out) + at / 8, &bits, sizeof bits);
    } else {
      for (int i = 0; i < 4; ++i) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<uint32_t*>(out) + at + 8 * i), words[i]);
      }
    }
  }
}

int64_t WholeFills(int64_t count) {
  return (count + MaskStream::kFillWords - 1) / MaskStream::kFillWords * MaskStream::kFillWords;
}

// The same with eight counters to a register.
struct WideCounters {
  __m512i c0, c1, c2, c3;
};

MG_TARGET_AVX512 inline WideCounters WideCountersFrom(uint64_t counter, uint64_t counter_high) {
  const __m512i low =
      _mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(counter)), _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
  return {low, _mm512_srli_epi64(low, 32), _mm512_set1_epi64(static_cast<int64_t>(counter_high)),
          _mm512_set1_epi64(static_cast<int64_t>(counter_high >> 32))};
}

// The keys of the ten rounds. In memory an instruction takes one to all lanes by itself.
struct RoundKeys {
  uint64_t k0[10], k1[10];

  explicit RoundKeys(uint64_t key) {
    auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round, low += kBump0, high += kBump1) k0[round] = low, k1[round] = high;
  }
};

MG_TARGET_AVX512 inline void WideRound(const RoundKeys& keys, int round, WideCounters& c) {
  const __m512i p0 = _mm512_mul_epu32(c.c0, _mm512_set1_epi64(kMultiplier0));
  const __m512i p1 = _mm512_mul_epu32(c.c2, _mm512_set1_epi64(kMultiplier1));
  const __m512i k0 = _mm512_set1_epi64(static_cast<int64_t>(keys.k0[round]));
  const __m512i k1 = _mm512_set1_epi64(static_cast<int64_t>(keys.k1[round]));
  c.c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c.c1, k0, 0x96);  // a ^ b ^ c
  c.c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c.c3, k1, 0x96);
  c.c1 = p1;
  c.c3 = p0;
}

// Words 0 to 15 and 16 to 31 of the eight counters. In each 128 bits there are the words of counter i, and of i + 4.
MG_TARGET_AVX512 inline void WideUnpack(const WideCounters& c, __m512i& first, __m512i& second) {
  const __m512i c01 = _mm512_mask_blend_epi32(0xaaaa, c.c0, _mm512_slli_epi64(c.c1, 32));
  const __m512i c23 = _mm512_mask_blend_epi32(0xaaaa, c.c2, _mm512_slli_epi64(c.c3, 32));
  first = _mm512_unpacklo_epi64(c01, c23);   // counters 0, 1, 2, 3
  second = _mm512_unpackhi_epi64(c01, c23);  // counters 4, 5, 6, 7
}

// `count` words, a multiple of kFillWords. Two groups at a time leave the processor waiting for products.
template <bool kBits>
MG_TARGET_AVX512 void FillAvx512(const MaskStream& stream, uint64_t counter, int64_t count, uint32_t limit, void* out) {
  constexpr int kGroups = 4;  // whose rounds overlap
  constexpr int kWords = 32 * kGroups;
  const RoundKeys keys(stream.key);
  const __m512i limits = _mm512_set1_epi32(static_cast<int>(limit));
  for (int64_t at = 0; at < count; at += kWords, counter += kWords / 4) {
    WideCounters c[kGroups];
    for (int g = 0; g < kGroups; ++g) c[g] = WideCountersFrom(counter + 8 * g, stream.counter_high);
    for (int round = 0; round < 10; ++round) {
      for (int g = 0; g < kGroups; ++g) WideRound(keys, round, c[g]);
    }
    for (int g = 0; g < kGroups; ++g) {
      __m512i words[2];
      WideUnpack(c[g], words[0], words[1]);
      for (int i = 0; i < 2; ++i) {
        const int64_t to = at + 32 * g + 16 * i;
        if constexpr (kBits) {
          const auto bits = static_cast<uint16_t>(_mm512_cmple_epu32_mask(words[i], limits));
          std::memcpy(static_cast<uint8_t*>(out) + to / 8, &bits, sizeof bits);
        } else {
          _mm512_storeu_si512(static_cast<uint32_t*>(out) + to, words[i]);
        }
      }
    }
  }
}
#endif

}  // namespace

MaskStream MaskStream::For(uint64_t mask_seed, absl::string_view model, absl::string_view tensor) {
  return {SplitMix64(mask_seed + 0x9e3779b97f4a7c15u * StableHash64(model)), StableHash64(tensor)};
}

void MaskStream::Fill(int64_t first, int64_t count, uint32_t* words) const {
#ifdef MG_AVX2
  if (HasAvx512()) return FillAvx512<false>(*this, static_cast<uint64_t>(first) / 4, WholeFills(count), 0, words);
#endif
  for (int64_t i = 0; i < count; i += kFillWords) {
    const uint64_t counter = static_cast<uint64_t>(first + i) / 4;
#ifdef MG_AVX2
    if (HasAvx2()) {
      FillAvx2<false>(*this, counter, 0, words + i);
      continue;
    }
#endif
    PhiloxLanes(key, counter, counter_high, words + i);
  }
}

void MaskStream::FillBits(int64_t first, int64_t count, uint32_t limit, uint8_t* bits) const {
#ifdef MG_AVX2
  if (HasAvx512()) return FillAvx512<true>(*this, static_cast<uint64_t>(first) / 4, WholeFills(count), limit, bits);
#endif
  for (int64_t i = 0; i < count; i += kFillWords) {
    const uint64_t counter = static_cast<uint64_t>(first + i) / 4;
#ifdef MG_AVX2
    if (HasAvx2()) {
      FillAvx2<true>(*this, counter, limit, bits + i / 8);
      continue;
    }
#endif
    uint32_t words[kFillWords];
    PhiloxLanes(key, counter, counter_high, words);
    for (int j = 0; j < kFillWords; j += 8) {
      uint32_t byte = 0;
      for (int b = 0; b < 8; ++b) byte |= static_cast<uint32_t>(words[j + b] <= limit) << b;
      bits[(i + j) / 8] = static_cast<uint8_t>(byte);
    }
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

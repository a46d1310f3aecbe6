// What block_math.h says about masks as bits.
#include <algorithm>
#include <bit>

#include "worker/merge/avx2.h"
#include "worker/merge/block_math.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

// All ones where element i is kept.
inline uint32_t Kept(const uint8_t* bits, int64_t i) { return 0u - (bits[i / 8] >> (i % 8) & 1u); }

#ifdef MG_AVX2
// Eight elements' masks from their byte.
MG_TARGET_AVX2 inline __m256 KeptEight(uint8_t byte) {
  const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(byte), each), each));
}

MG_TARGET_AVX2 inline __m256i LoadEight(const uint32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// These do whole eights and return how many elements that were.
MG_TARGET_AVX2 int64_t KeepBitsAvx2(const uint8_t* bits, int64_t count, float* x) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(x + i, _mm256_and_ps(_mm256_loadu_ps(x + i), KeptEight(bits[i / 8])));
  return i;
}

MG_TARGET_AVX2 int64_t MaskedDifferenceAvx2(const float* base, const uint8_t* bits, float scale, float weight, int64_t count,
                                            float* x) {
  const __m256 scales = _mm256_set1_ps(scale), weights = _mm256_set1_ps(weight);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 difference = _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(base + i));
    const __m256 kept = _mm256_and_ps(difference, KeptEight(bits[i / 8]));
    _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_mul_ps(kept, scales), weights));
  }
  return i;
}

MG_TARGET_AVX2 int64_t FillRankedBitsAvx2(const uint32_t* words, const uint32_t* ranks, const RankedMask& mask,
                                          int64_t count, uint8_t* bits) {
  const __m256 low = _mm256_set1_ps(mask.low), step = _mm256_set1_ps(mask.step), unit = _mm256_set1_ps(0x1p-24f);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 uniform = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(LoadEight(words + i), 8)), unit);
    const __m256 probability = _mm256_add_ps(low, _mm256_mul_ps(_mm256_cvtepi32_ps(LoadEight(ranks + i)), step));
    bits[i / 8] = static_cast<uint8_t>(_mm256_movemask_ps(_mm256_cmp_ps(uniform, probability, _CMP_LT_OQ)));
  }
  return i;
}

MG_TARGET_AVX2 inline void AddFour(__m128 x, __m256d& sum) { sum = _mm256_add_pd(sum, _mm256_cvtps_pd(x)); }

MG_TARGET_AVX2 int64_t AddMaskedL1Avx2(const float* x, const float* base, const uint8_t* bits, int64_t count, L1Lanes& whole,
                                       L1Lanes& kept) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256d whole_low = _mm256_loadu_pd(whole.data()), whole_high = _mm256_loadu_pd(whole.data() + 4);
  __m256d kept_low = _mm256_loadu_pd(kept.data()), kept_high = _mm256_loadu_pd(kept.data() + 4);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 d = _mm256_and_ps(magnitude, _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(base + i)));
    const __m256 own = _mm256_and_ps(d, KeptEight(bits[i / 8]));
    AddFour(_mm256_castps256_ps128(d), whole_low);
    AddFour(_mm256_extractf128_ps(d, 1), whole_high);
    AddFour(_mm256_castps256_ps128(own), kept_low);
    AddFour(_mm256_extractf128_ps(own, 1), kept_high);
  }
  _mm256_storeu_pd(whole.data(), whole_low);
  _mm256_storeu_pd(whole.data() + 4, whole_high);
  _mm256_storeu_pd(kept.data(), kept_low);
  _mm256_storeu_pd(kept.data() + 4, kept_high);
  return i;
}
#endif

}  // namespace

void KeepBits(const uint8_t* bits, int64_t count, float* x) {
  int64_t i = 0;
#ifdef MG_AVX2
  if (HasAvx2()) i = KeepBitsAvx2(bits, count, x);
#endif
  for (; i < count; ++i) x[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(x[i]) & Kept(bits, i));
}

void MaskedDifference(const float* base, const uint8_t* bits, float scale, float weight, int64_t count, float* x) {
  int64_t i = 0;
#ifdef MG_AVX2
  if (HasAvx2()) i = MaskedDifferenceAvx2(base, bits, scale, weight, count, x);
#endif
  for (; i < count; ++i) {
    x[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(x[i] - base[i]) & Kept(bits, i)) * scale * weight;
  }
}

void FillRankedBits(const uint32_t* words, const uint32_t* ranks, const RankedMask& mask, int64_t count, uint8_t* bits) {
  int64_t i = 0;
#ifdef MG_AVX2
  if (HasAvx2()) i = FillRankedBitsAvx2(words, ranks, mask, count, bits);
#endif
  for (; i < count; i += 8) {
    uint32_t byte = 0;
    for (int64_t j = i; j < std::min(i + 8, count); ++j)
      byte |= static_cast<uint32_t>(mask.Keeps(words[j], ranks[j])) << (j - i);
    bits[i / 8] = static_cast<uint8_t>(byte);
  }
}

void AddMaskedL1(const float* x, const float* base, const uint8_t* bits, int64_t count, L1Lanes& whole, L1Lanes& kept) {
  int64_t i = 0;
#ifdef MG_AVX2
  if (HasAvx2()) i = AddMaskedL1Avx2(x, base, bits, count, whole, kept);
#endif
  for (; i < count; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i] - base[i]) & 0x7fffffffu;
    whole[i % 8] += static_cast<double>(std::bit_cast<float>(magnitude));
    kept[i % 8] += static_cast<double>(std::bit_cast<float>(magnitude & Kept(bits, i)));
  }
}

}  // namespace merganser

#include "worker/merge/masked_bf16.h"

#include <algorithm>
#include <cstring>

#include "common/base/log.h"
#include "worker/merge/avx2.h"

namespace merganser {

#ifdef MG_AVX2

namespace {

#define MG_WIDE MG_TARGET_AVX512 __attribute__((always_inline)) inline

constexpr int64_t kWide = 16;  // elements of a register

// Which elements of the sixteen from `at` on there are. Most blocks of sixteen are whole: their loads and stores need no
// mask.
struct Whole {
  static constexpr __mmask16 there = 0xffff;
};
struct Part {
  __mmask16 there;
};

template <typename Step>
MG_WIDE void ForEachSixteen(int64_t count, const Step& step) {
  int64_t at = 0;
  for (; at + kWide <= count; at += kWide) step(at, Whole{});
  if (at < count) step(at, Part{static_cast<__mmask16>((1u << (count - at)) - 1)});
}

MG_WIDE __m512 Widened(__m256i stored) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(stored), 16)); }

// Elements [at, at + 16) as fp32; zeros where there are none.
MG_WIDE __m512 Load(const std::byte* x, int64_t at, Whole) {
  return Widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 2 * at)));
}
MG_WIDE __m512 Load(const std::byte* x, int64_t at, Part part) {
  return Widened(_mm256_maskz_loadu_epi16(part.there, x + 2 * at));
}

MG_WIDE void Store(__m256i value, int64_t at, Whole, std::byte* out) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * at), value);
}
MG_WIDE void Store(__m256i value, int64_t at, Part part, std::byte* out) {
  _mm256_mask_storeu_epi16(out + 2 * at, part.there, value);
}

MG_WIDE __mmask16 Bits(const uint8_t* bits, int64_t at) {
  uint16_t own;
  std::memcpy(&own, bits + at / 8, sizeof own);
  return own;
}

// RoundedToBF16 and a store; `bad` gets the bits of what is not finite.
template <typename Extent>
MG_WIDE void Put(__m512 value, int64_t at, Extent extent, std::byte* out, __mmask16& bad) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), even), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
  const __m512i exponent = _mm512_set1_epi32(0x7f80);
  const __mmask16 there = extent.there;
  bad = static_cast<__mmask16>(bad | _mm512_mask_cmpeq_epi32_mask(there, _mm512_and_si512(rounded, exponent), exponent));
  Store(_mm512_cvtepi32_epi16(rounded), at, extent, out);
}

// The weighted task vector of one source; zeros where its bit is 0.
template <typename Extent>
MG_WIDE __m512 Masked(const MaskedSource& source, __m512 origin, int64_t at, Extent extent) {
  const __mmask16 there = extent.there;
  const __mmask16 kept = source.bits == nullptr ? there : static_cast<__mmask16>(Bits(source.bits, at) & there);
  const __m512 d = _mm512_maskz_sub_ps(kept, Load(source.x, at, extent), origin);
  return _mm512_mul_ps(_mm512_mul_ps(d, _mm512_set1_ps(source.scale)), _mm512_set1_ps(source.weight));
}

template <int kSources>
MG_TARGET_AVX512 bool AddMasked(const std::byte* base, const MaskedSource* sources, bool divide, float divisor, float lambda,
                                int64_t count, std::byte* out) {
  MaskedSource own[kSources];
  std::copy(sources, sources + kSources, own);
  __mmask16 bad = 0;
  ForEachSixteen(
      count, [&](int64_t at, auto extent) MG_TARGET_AVX512 __attribute__((always_inline)) {
        const __m512 origin = Load(base, at, extent);
        __m512 sum = _mm512_setzero_ps();
        for (int s = 0; s < kSources; ++s) sum = _mm512_add_ps(sum, Masked(own[s], origin, at, extent));
        if (divide) sum = _mm512_div_ps(sum, _mm512_set1_ps(divisor));
        Put(_mm512_add_ps(origin, _mm512_mul_ps(_mm512_set1_ps(lambda), sum)), at, extent, out, bad);
      });
  return bad == 0;
}

template <int kSources>
MG_TARGET_AVX512 bool MergeMaskedBySign(const std::byte* base, const MaskedSource* sources, bool normalize, float lambda,
                                        int64_t count, std::byte* out) {
  MaskedSource own[kSources];
  std::copy(sources, sources + kSources, own);
  const __m512 zero = _mm512_setzero_ps();
  __mmask16 bad = 0;
  ForEachSixteen(
      count, [&](int64_t at, auto extent) MG_TARGET_AVX512 __attribute__((always_inline)) {
        const __m512 origin = Load(base, at, extent);
        __m512 d[kSources];
        __m512 total = zero;
        for (int s = 0; s < kSources; ++s) {
          d[s] = Masked(own[s], origin, at, extent);
          total = _mm512_add_ps(total, d[s]);
        }
        // What agrees is above zero once the signs are turned where the sum is below it.
        const __mmask16 positive = _mm512_cmp_ps_mask(total, zero, _CMP_GE_OQ);
        const __m512 turned = _mm512_mask_mov_ps(_mm512_set1_ps(-0.0f), positive, zero);
        __m512 sum = zero, weights = zero;
        for (int s = 0; s < kSources; ++s) {
          const __mmask16 agrees = _mm512_cmp_ps_mask(_mm512_xor_ps(d[s], turned), zero, _CMP_GT_OQ);
          sum = _mm512_mask_add_ps(sum, agrees, sum, d[s]);
          weights = _mm512_mask_add_ps(weights, agrees, weights, _mm512_set1_ps(own[s].weight));
        }
        if (normalize) {
          const __mmask16 none = _mm512_cmp_ps_mask(weights, zero, _CMP_EQ_OQ);
          sum = _mm512_div_ps(sum, _mm512_mask_mov_ps(weights, none, _mm512_set1_ps(1)));
        }
        Put(_mm512_add_ps(origin, _mm512_mul_ps(_mm512_set1_ps(lambda), sum)), at, extent, out, bad);
      });
  return bad == 0;
}

MG_WIDE __m512d LowerHalf(__m512 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
MG_WIDE __m512d UpperHalf(__m512 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

template <bool kWhole>
MG_TARGET_AVX512 void AddMaskedL1(const std::byte* x, const std::byte* base, const uint8_t* bits, int64_t count,
                                  L1Lanes* whole, L1Lanes& kept) {
  __m512d whole_sum = _mm512_setzero_pd(), kept_sum = _mm512_loadu_pd(kept.data());
  if constexpr (kWhole) whole_sum = _mm512_loadu_pd(whole->data());
  ForEachSixteen(
      count, [&](int64_t at, auto extent) MG_TARGET_AVX512 __attribute__((always_inline)) {
        const __m512 d = _mm512_abs_ps(_mm512_sub_ps(Load(x, at, extent), Load(base, at, extent)));
        const __m512 own = _mm512_maskz_mov_ps(Bits(bits, at), d);
        // Adding the zeros behind the end changes no sum.
        if constexpr (kWhole) whole_sum = _mm512_add_pd(_mm512_add_pd(whole_sum, LowerHalf(d)), UpperHalf(d));
        kept_sum = _mm512_add_pd(_mm512_add_pd(kept_sum, LowerHalf(own)), UpperHalf(own));
      });
  if constexpr (kWhole) _mm512_storeu_pd(whole->data(), whole_sum);
  _mm512_storeu_pd(kept.data(), kept_sum);
}

#undef MG_WIDE

}  // namespace

bool HasMaskedBF16() { return HasAvx512(); }

bool AddMaskedBF16(const std::byte* base, const MaskedSource* sources, int count_of_sources, bool divide, float divisor,
                   float lambda, int64_t count, std::byte* out) {
  MG_CHECK(count_of_sources >= 1 && count_of_sources <= kBF16SourcesMax);
  if (count_of_sources == 1) return AddMasked<1>(base, sources, divide, divisor, lambda, count, out);
  if (count_of_sources == 2) return AddMasked<2>(base, sources, divide, divisor, lambda, count, out);
  if (count_of_sources == 3) return AddMasked<3>(base, sources, divide, divisor, lambda, count, out);
  return AddMasked<4>(base, sources, divide, divisor, lambda, count, out);
}

bool MergeMaskedBySignBF16(const std::byte* base, const MaskedSource* sources, int count_of_sources, bool normalize,
                           float lambda, int64_t count, std::byte* out) {
  MG_CHECK(count_of_sources >= 1 && count_of_sources <= kBF16SourcesMax);
  if (count_of_sources == 1) return MergeMaskedBySign<1>(base, sources, normalize, lambda, count, out);
  if (count_of_sources == 2) return MergeMaskedBySign<2>(base, sources, normalize, lambda, count, out);
  if (count_of_sources == 3) return MergeMaskedBySign<3>(base, sources, normalize, lambda, count, out);
  return MergeMaskedBySign<4>(base, sources, normalize, lambda, count, out);
}

void AddMaskedL1BF16(const std::byte* x, const std::byte* base, const uint8_t* bits, int64_t count, L1Lanes* whole,
                     L1Lanes& kept) {
  if (whole != nullptr) return AddMaskedL1<true>(x, base, bits, count, whole, kept);
  AddMaskedL1<false>(x, base, bits, count, nullptr, kept);
}

#else

bool HasMaskedBF16() { return false; }

bool AddMaskedBF16(const std::byte*, const MaskedSource*, int, bool, float, float, int64_t, std::byte*) {
  MG_CHECK(HasMaskedBF16());
  return false;
}

bool MergeMaskedBySignBF16(const std::byte*, const MaskedSource*, int, bool, float, int64_t, std::byte*) {
  MG_CHECK(HasMaskedBF16());
  return false;
}

void AddMaskedL1BF16(const std::byte*, const std::byte*, const uint8_t*, int64_t, L1Lanes*, L1Lanes&) {
  MG_CHECK(HasMaskedBF16());
}

#endif

}  // namespace merganser

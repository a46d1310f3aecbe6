#include "worker/merge/trimmed_bf16.h"

#include <algorithm>

#include "common/base/log.h"
#include "worker/merge/avx2.h"

namespace merganser {

#ifdef MG_AVX2

namespace {

#define MG_WIDE MG_TARGET_AVX512 __attribute__((always_inline)) inline

constexpr int64_t kWide = 32;  // bf16 elements of a register

// The elements with even and those with odd numbers as fp32: a shift and a mask, where widening in order takes two steps
// each.
struct Halves {
  __m512 even, odd;
};

MG_WIDE __m512i UpperBits() { return _mm512_set1_epi32(static_cast<int>(0xffff0000u)); }

MG_WIDE Halves Load(const std::byte* x) {
  const __m512i stored = _mm512_loadu_si512(x);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(stored, 16)), _mm512_castsi512_ps(_mm512_and_si512(stored, UpperBits()))};
}

// RoundedToBF16, still in the upper bits; `bad` gets the bits of what is not finite, or is not once rounded.
MG_WIDE __m512i Rounded(__m512 value, __mmask16& bad) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  bad = static_cast<__mmask16>(bad | _mm512_cmpge_epu32_mask(magnitude, _mm512_set1_epi32(0x7f7f8000)));
  const __m512i even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), even);
}

MG_WIDE void Store(const Halves& values, std::byte* out, __mmask16& bad) {
  const __m512i even = _mm512_srli_epi32(Rounded(values.even, bad), 16), odd = Rounded(values.odd, bad);
  _mm512_storeu_si512(out, _mm512_ternarylogic_epi32(UpperBits(), odd, even, 0xca));  // mask ? odd : even
}

struct Source {
  const std::byte* x;
  __m512i threshold;
  __m512 scale, weight;
};

template <bool kScaled>
MG_WIDE __m512 Kept(const Source& source, __m512 x, __m512 origin) {
  const __m512 d = _mm512_sub_ps(x, origin);
  const __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(d), _mm512_set1_epi32(0x7fffffff));
  const __mmask16 kept = _mm512_cmpge_epu32_mask(magnitude, source.threshold);
  if (!kScaled) return _mm512_maskz_mul_ps(kept, d, source.weight);
  return _mm512_mul_ps(_mm512_maskz_mul_ps(kept, d, source.scale), source.weight);
}

template <int kSources, bool kNormalize>
MG_WIDE __m512 Merged(const __m512* d, const Source* sources, __m512 origin, __m512 lambda) {
  const __m512 zero = _mm512_setzero_ps();
  __m512 total = zero;
  for (int s = 0; s < kSources; ++s) total = _mm512_add_ps(total, d[s]);
  // What agrees is above zero once the signs are turned where the sum is below it.
  const __mmask16 positive = _mm512_cmp_ps_mask(total, zero, _CMP_GE_OQ);
  const __m512 turned = _mm512_mask_mov_ps(_mm512_set1_ps(-0.0f), positive, zero);
  __m512 sum = zero, weights = zero;
  for (int s = 0; s < kSources; ++s) {
    const __mmask16 agrees = _mm512_cmp_ps_mask(_mm512_xor_ps(d[s], turned), zero, _CMP_GT_OQ);
    sum = _mm512_mask_add_ps(sum, agrees, sum, d[s]);
    if (kNormalize) weights = _mm512_mask_add_ps(weights, agrees, weights, sources[s].weight);
  }
  if (kNormalize) {
    const __mmask16 none = _mm512_cmp_ps_mask(weights, zero, _CMP_EQ_OQ);
    sum = _mm512_div_ps(sum, _mm512_mask_mov_ps(weights, none, _mm512_set1_ps(1)));
  }
  return _mm512_add_ps(origin, _mm512_mul_ps(lambda, sum));
}

// Whole registers of elements; false if a result is not finite.
template <int kSources, bool kNormalize, bool kScaled>
MG_TARGET_AVX512 bool Merge(const std::byte* base, const TrimmedSource* sources, float lambda, int64_t count,
                            std::byte* out) {
  Source own[kSources];
  for (int s = 0; s < kSources; ++s) {
    own[s] = {sources[s].x, _mm512_set1_epi32(static_cast<int>(sources[s].threshold)), _mm512_set1_ps(sources[s].scale),
              _mm512_set1_ps(sources[s].weight)};
  }
  const __m512 lambdas = _mm512_set1_ps(lambda);
  __mmask16 bad = 0;
  for (int64_t at = 0; at < count; at += kWide) {
    const Halves origin = Load(base + 2 * at);
    __m512 even[kSources], odd[kSources];
    for (int s = 0; s < kSources; ++s) {
      const Halves x = Load(own[s].x + 2 * at);
      even[s] = Kept<kScaled>(own[s], x.even, origin.even);
      odd[s] = Kept<kScaled>(own[s], x.odd, origin.odd);
    }
    Store({Merged<kSources, kNormalize>(even, own, origin.even, lambdas),
           Merged<kSources, kNormalize>(odd, own, origin.odd, lambdas)},
          out + 2 * at, bad);
  }
  return bad == 0;
}

#undef MG_WIDE

template <int kSources>
bool Merge(const std::byte* base, const TrimmedSource* sources, bool normalize, bool scaled, float lambda, int64_t count,
           std::byte* out) {
  if (normalize && scaled) return Merge<kSources, true, true>(base, sources, lambda, count, out);
  if (normalize) return Merge<kSources, true, false>(base, sources, lambda, count, out);
  if (scaled) return Merge<kSources, false, true>(base, sources, lambda, count, out);
  return Merge<kSources, false, false>(base, sources, lambda, count, out);
}

bool MergeWhole(const std::byte* base, const TrimmedSource* sources, int count_of_sources, bool normalize, float lambda,
                int64_t count, std::byte* out) {
  // A product with 1 is what it was.
  const bool scaled = std::any_of(sources, sources + count_of_sources, [](const TrimmedSource& s) { return s.scale != 1; });
  if (count_of_sources == 1) return Merge<1>(base, sources, normalize, scaled, lambda, count, out);
  if (count_of_sources == 2) return Merge<2>(base, sources, normalize, scaled, lambda, count, out);
  if (count_of_sources == 3) return Merge<3>(base, sources, normalize, scaled, lambda, count, out);
  return Merge<4>(base, sources, normalize, scaled, lambda, count, out);
}

}  // namespace

bool MergeTrimmedBySignBF16(const std::byte* base, const TrimmedSource* sources, int count_of_sources, bool normalize,
                            float lambda, int64_t count, std::byte* out) {
  MG_CHECK(count_of_sources >= 1 && count_of_sources <= kBF16SourcesMax);
  const int64_t whole = count / kWide * kWide;
  // Where something is not finite the other form says what is stored.
  if (!HasAvx512() || !MergeWhole(base, sources, count_of_sources, normalize, lambda, whole, out)) {
    return MergeBySignBF16(base, sources, count_of_sources, normalize, lambda, count, out);
  }
  TrimmedSource rest[kBF16SourcesMax];
  for (int s = 0; s < count_of_sources; ++s) {
    rest[s] = sources[s];
    rest[s].x += 2 * whole;
  }
  return MergeBySignBF16(base + 2 * whole, rest, count_of_sources, normalize, lambda, count - whole, out + 2 * whole);
}

#else

bool MergeTrimmedBySignBF16(const std::byte* base, const TrimmedSource* sources, int count_of_sources, bool normalize,
                            float lambda, int64_t count, std::byte* out) {
  return MergeBySignBF16(base, sources, count_of_sources, normalize, lambda, count, out);
}

#endif

}  // namespace merganser

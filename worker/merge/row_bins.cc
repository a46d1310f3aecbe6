#include "worker/merge/row_bins.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "worker/merge/avx2.h"
#include "worker/merge/block_math.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

constexpr uint32_t kExponent = 0x7f800000u;
constexpr int kLanes = 8;         // a row is a multiple of these
constexpr int64_t kPadding = 64;  // elements behind a row that may be read
// Exact ranks that a row may look up by reading it again: more than that, and sorting it is quicker.
constexpr double kLookUpsMax = 128;
constexpr int kTables = 4;  // of counts: a count that has just been changed is slow to change again
// The bounds of so many bins fit into the registers of AVX-512, where looking them up is several times as fast as in memory;
// but the longer the row, the more of it shares a bin.
constexpr int64_t kPermutedBins = 256;
constexpr int64_t kPermutedRowMax = 4096;
// The last bin begins so many mean magnitudes from zero, if not with the largest: few outliers share it, and do not leave
// the others with few bins.
constexpr float kMeans = 4;

struct Extent {
  uint32_t most = 0;  // bits of the largest magnitude
  float sum = 0;
};

MG_MULTIVERSION void AddExtents(const float* __restrict d, int64_t count, uint32_t* __restrict magnitudes,
                                uint32_t* __restrict most, float* __restrict sums) {
  for (int64_t i = 0; i < count; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const uint32_t own = std::bit_cast<uint32_t>(d[i + l]) & 0x7fffffffu;
      magnitudes[i + l] = own;
      most[l] = std::max(most[l], own);
      sums[l] += std::bit_cast<float>(own);
    }
  }
}

Extent MagnitudesOf(const float* d, int64_t count, uint32_t* magnitudes) {
  uint32_t most[kLanes] = {};
  float sums[kLanes] = {};
  AddExtents(d, count, magnitudes, most, sums);
  Extent extent;
  for (int l = 0; l < kLanes; ++l) {
    extent.most = std::max(extent.most, most[l]);
    extent.sum += sums[l];
  }
  return extent;
}

MG_MULTIVERSION void FillBins(const uint32_t* __restrict magnitudes, float scale, int32_t last, int64_t count,
                              uint16_t* __restrict bins) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bin = static_cast<int32_t>(std::bit_cast<float>(magnitudes[i]) * scale);
    bins[i] = static_cast<uint16_t>(std::min(bin, last));
  }
}

// counts[table * size + bin]: how often each bin below `size` occurs, in kTables parts.
void CountBins(const uint16_t* bins, int64_t count, int64_t size, uint32_t* counts) {
  std::fill_n(counts, kTables * size, 0u);
  uint32_t *const a = counts, *const b = a + size, *const c = b + size, *const d = c + size;
  for (int64_t i = 0; i < count; i += kLanes) {
    uint64_t low, high;
    std::memcpy(&low, bins + i, sizeof low);
    std::memcpy(&high, bins + i + 4, sizeof high);
    ++a[low & 0xffff];
    ++b[low >> 16 & 0xffff];
    ++c[low >> 32 & 0xffff];
    ++d[low >> 48];
    ++a[high & 0xffff];
    ++b[high >> 16 & 0xffff];
    ++c[high >> 32 & 0xffff];
    ++d[high >> 48];
  }
}

// The same of bins as bytes, kPermutedBins of them.
void CountByteBins(const uint8_t* bins, int64_t count, uint16_t* counts) {
  std::memset(counts, 0, kTables * kPermutedBins * sizeof *counts);
  uint16_t *const a = counts, *const b = a + kPermutedBins, *const c = b + kPermutedBins, *const d = c + kPermutedBins;
  for (int64_t i = 0; i < count; i += kLanes) {
    uint64_t eight;
    std::memcpy(&eight, bins + i, sizeof eight);
    ++a[eight & 0xff];
    ++b[eight >> 8 & 0xff];
    ++c[eight >> 16 & 0xff];
    ++d[eight >> 24 & 0xff];
    ++a[eight >> 32 & 0xff];
    ++b[eight >> 40 & 0xff];
    ++c[eight >> 48 & 0xff];
    ++d[eight >> 56];
  }
}

// RowBins' bounds. A word's upper half h stands for the words from h * 65536 on: all of them are below a probability p if
// h + 1 <= 65536 p, none if h >= 65536 p. Returns the sum of the squares of the counts.
double FillBounds(const uint32_t* counts, int64_t size, const RankedMask& mask, uint32_t* bounds) {
  double pairs = 0;
  uint32_t rank = 0;
  for (int64_t bin = 0; bin < size; ++bin) {
    uint32_t own = 0;
    for (int64_t t = 0; t < kTables; ++t) own += counts[t * size + bin];
    if (own == 0) continue;
    pairs += static_cast<double>(own) * own;
    const float low = mask.Probability(rank) * 0x1p16f, high = mask.Probability(rank + own - 1) * 0x1p16f;
    const int32_t below = std::clamp(static_cast<int32_t>(low), 0, 65535);
    const int32_t last = std::clamp(static_cast<int32_t>(std::ceil(high)) - 1, 0, 65535);
    bounds[bin] = static_cast<uint32_t>(below) | static_cast<uint32_t>(last) << 16;
    rank += own;
  }
  return pairs;
}

// How many of [begin, end) are below `value`, or (`or_equal`) at most `value`.
MG_MULTIVERSION uint32_t CountBelow(const uint32_t* magnitudes, int64_t begin, int64_t end, uint32_t value, bool or_equal) {
  const auto bound = static_cast<int32_t>(value + (or_equal ? 1 : 0));
  uint32_t below = 0;
  for (int64_t i = begin; i < end; ++i) below += static_cast<int32_t>(magnitudes[i]) < bound ? 1 : 0;
  return below;
}

void DecidePlain(const uint32_t* words, const uint16_t* bins, const uint32_t* bounds, int64_t first, int64_t count,
                 uint8_t* kept, uint8_t* maybe) {
  for (int64_t i = first; i < count; i += 8) {
    uint32_t kept_byte = 0, maybe_byte = 0;
    for (int64_t j = i; j < std::min(i + 8, count); ++j) {
      const uint32_t both = bounds[bins[j]], half = words[j] >> 16;
      kept_byte |= static_cast<uint32_t>(half < (both & 0xffffu)) << (j - i);
      maybe_byte |= static_cast<uint32_t>(half <= both >> 16) << (j - i);
    }
    kept[i / 8] = static_cast<uint8_t>(kept_byte);
    maybe[i / 8] = static_cast<uint8_t>(maybe_byte);
  }
}

#ifdef MG_AVX2

MG_TARGET_AVX512 Extent MagnitudesBF16(const std::byte* base, const std::byte* source, int64_t count, uint32_t* magnitudes) {
  __m512i most = _mm512_setzero_si512();
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    const auto there = static_cast<__mmask16>(count - i >= 16 ? 0xffff : 0xff);
    const __m512i a = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, source + 2 * i)), 16);
    const __m512i b = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, base + 2 * i)), 16);
    const __m512 own = _mm512_abs_ps(_mm512_sub_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
    _mm512_mask_storeu_epi32(magnitudes + i, there, _mm512_castps_si512(own));
    most = _mm512_max_epu32(most, _mm512_castps_si512(own));
    sum = _mm512_add_ps(sum, own);
  }
  return {_mm512_reduce_max_epu32(most), _mm512_reduce_add_ps(sum)};
}

MG_TARGET_AVX512 void FillBinsAvx512(const uint32_t* magnitudes, float scale, int32_t last, int64_t count, uint16_t* bins) {
  const __m512 scales = _mm512_set1_ps(scale);
  const __m512i most = _mm512_set1_epi32(last);
  for (int64_t i = 0; i < count; i += 16) {  // into the padding
    const __m512 own = _mm512_loadu_ps(magnitudes + i);
    const __m512i bin = _mm512_min_epu32(_mm512_cvttps_epi32(_mm512_mul_ps(own, scales)), most);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bins + i), _mm512_cvtepi32_epi16(bin));
  }
}

// kPermutedBins bins.
MG_TARGET_AVX512 void FillByteBins(const uint32_t* magnitudes, float scale, int64_t count, uint8_t* bins) {
  const __m512 scales = _mm512_set1_ps(scale);
  const __m512i most = _mm512_set1_epi32(kPermutedBins - 1);
  for (int64_t i = 0; i < count; i += 16) {  // into the padding
    const __m512 own = _mm512_loadu_ps(magnitudes + i);
    const __m512i bin = _mm512_min_epu32(_mm512_cvttps_epi32(_mm512_mul_ps(own, scales)), most);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bins + i), _mm512_cvtepi32_epi8(bin));
  }
}

// What the tables count in bins [bin, bin + 16).
MG_TARGET_AVX512 inline __m512i SumTables(const uint32_t* counts, int64_t size, int64_t bin) {
  __m512i sum = _mm512_setzero_si512();
  for (int64_t t = 0; t < kTables; ++t) sum = _mm512_add_epi32(sum, _mm512_loadu_si512(counts + t * size + bin));
  return sum;
}

MG_TARGET_AVX512 inline __m512i SumTables(const uint16_t* counts, int64_t size, int64_t bin) {
  __m256i sum = _mm256_setzero_si256();
  for (int64_t t = 0; t < kTables; ++t) sum = _mm256_add_epi16(sum, _mm256_loadu_epi16(counts + t * size + bin));
  return _mm512_cvtepu16_epi32(sum);
}

// REQUIRES: size % 16 == 0.
template <typename Counts>
MG_TARGET_AVX512 double FillBoundsAvx512(const Counts* counts, int64_t size, const RankedMask& mask, uint32_t* bounds) {
  const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi32(1), end = _mm512_set1_epi32(15);
  const __m512i half = _mm512_set1_epi32(65535);
  const __m512 low = _mm512_set1_ps(mask.low), step = _mm512_set1_ps(mask.step), halves = _mm512_set1_ps(0x1p16f);
  __m512i before = zero;
  __m512 pairs = _mm512_setzero_ps();
  for (int64_t bin = 0; bin < size; bin += 16) {
    const __m512i own = SumTables(counts, size, bin);
    __m512i through = own;  // sums up to each bin
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 15));
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 14));
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 12));
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 8));
    through = _mm512_add_epi32(through, before);
    before = _mm512_permutexvar_epi32(end, through);
    const __m512 first = _mm512_cvtepi32_ps(_mm512_sub_epi32(through, own));
    const __m512 last = _mm512_cvtepi32_ps(_mm512_sub_epi32(through, one));
    const __m512 from = _mm512_mul_ps(_mm512_add_ps(low, _mm512_mul_ps(first, step)), halves);
    const __m512 to = _mm512_mul_ps(_mm512_add_ps(low, _mm512_mul_ps(last, step)), halves);
    const __m512i below = _mm512_max_epi32(_mm512_min_epi32(_mm512_cvttps_epi32(from), half), zero);
    const __m512i up = _mm512_cvt_roundps_epi32(to, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    const __m512i most = _mm512_max_epi32(_mm512_min_epi32(_mm512_sub_epi32(up, one), half), zero);
    _mm512_storeu_si512(bounds + bin, _mm512_or_si512(below, _mm512_slli_epi32(most, 16)));
    const __m512 owns = _mm512_cvtepi32_ps(own);
    pairs = _mm512_add_ps(pairs, _mm512_mul_ps(owns, owns));
  }
  return static_cast<double>(_mm512_reduce_add_ps(pairs));
}

// Which of the 64 magnitudes from `at` on are below `bound`.
MG_TARGET_AVX512 inline uint64_t Below(const uint32_t* at, __m512i bound) {
  const __mmask16 a = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(at), bound);
  const __mmask16 b = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(at + 16), bound);
  const __mmask16 c = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(at + 32), bound);
  const __mmask16 d = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(at + 48), bound);
  return _mm512_kunpackd(_mm512_kunpackw(d, c), _mm512_kunpackw(b, a));
}

// Without a branch that depends on the element. REQUIRES: what is behind the row, up to a multiple of 64, is beyond all of
// it.
MG_TARGET_AVX512 uint32_t RankAvx512(const uint32_t* magnitudes, int64_t row, int64_t element) {
  const uint32_t value = magnitudes[element];
  const int64_t own = element / 64 * 64;
  int64_t below = 0;
  for (int64_t i = 0; i < row; i += 64) {
    const uint32_t bound = value + static_cast<uint32_t>(i < own);
    below += std::popcount(Below(magnitudes + i, _mm512_set1_epi32(static_cast<int>(bound))));
  }
  // Equal ones before it in its own 64 are not among them yet.
  const uint64_t before = (uint64_t{1} << (element - own)) - 1;
  const uint64_t at_most = Below(magnitudes + own, _mm512_set1_epi32(static_cast<int>(value + 1))) & before;
  const uint64_t less = Below(magnitudes + own, _mm512_set1_epi32(static_cast<int>(value))) & before;
  return static_cast<uint32_t>(below + std::popcount(at_most ^ less));
}

MG_TARGET_AVX512 inline void PutBits(__mmask32 bits, int64_t at, int64_t count, uint8_t* out) {
  const auto own = static_cast<uint32_t>(bits);
  std::memcpy(out + at / 8, &own, static_cast<size_t>(std::min<int64_t>(4, (count - at + 7) / 8)));
}

// kPermutedBins bins, their bounds in registers.
MG_TARGET_AVX512 void DecidePermuted(const uint32_t* words, const uint8_t* bins, const uint32_t* bounds, int64_t count,
                                     uint8_t* kept, uint8_t* maybe) {
  constexpr int kRegisters = kPermutedBins / 32;
  __m512i below[kRegisters], last[kRegisters];
  for (int r = 0; r < kRegisters; ++r) {
    const __m512i a = _mm512_loadu_si512(bounds + 32 * r), b = _mm512_loadu_si512(bounds + 32 * r + 16);
    below[r] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(a)), _mm512_cvtepi32_epi16(b), 1);
    last[r] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16))),
                                 _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16)), 1);
  }
  alignas(64) uint16_t odd[32];
  for (int i = 0; i < 32; ++i) odd[i] = static_cast<uint16_t>(2 * i + 1);
  const __m512i upper = _mm512_load_si512(odd), sixth = _mm512_set1_epi16(64), seventh = _mm512_set1_epi16(128);
  for (int64_t i = 0; i < count; i += 32) {
    const __m512i bin = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bins + i)));
    const __m512i half = _mm512_permutex2var_epi16(_mm512_loadu_si512(words + i), upper, _mm512_loadu_si512(words + i + 16));
    const __mmask32 second = _mm512_test_epi16_mask(bin, sixth), upper_two = _mm512_test_epi16_mask(bin, seventh);
    const __m512i below_low = _mm512_mask_blend_epi16(second, _mm512_permutex2var_epi16(below[0], bin, below[1]),
                                                      _mm512_permutex2var_epi16(below[2], bin, below[3]));
    const __m512i below_high = _mm512_mask_blend_epi16(second, _mm512_permutex2var_epi16(below[4], bin, below[5]),
                                                       _mm512_permutex2var_epi16(below[6], bin, below[7]));
    const __m512i last_low = _mm512_mask_blend_epi16(second, _mm512_permutex2var_epi16(last[0], bin, last[1]),
                                                     _mm512_permutex2var_epi16(last[2], bin, last[3]));
    const __m512i last_high = _mm512_mask_blend_epi16(second, _mm512_permutex2var_epi16(last[4], bin, last[5]),
                                                      _mm512_permutex2var_epi16(last[6], bin, last[7]));
    PutBits(_mm512_cmplt_epu16_mask(half, _mm512_mask_blend_epi16(upper_two, below_low, below_high)), i, count, kept);
    PutBits(_mm512_cmple_epu16_mask(half, _mm512_mask_blend_epi16(upper_two, last_low, last_high)), i, count, maybe);
  }
}

// These do whole registers and return how many elements that were.
MG_TARGET_AVX512 int64_t DecideAvx512(const uint32_t* words, const uint16_t* bins, const uint32_t* bounds, int64_t count,
                                      uint8_t* kept, uint8_t* maybe) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i bin = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bins + i));
    const __m512i both = _mm512_i32gather_epi32(_mm512_cvtepu16_epi32(bin), bounds, 4);
    const __m512i half = _mm512_srli_epi32(_mm512_loadu_si512(words + i), 16);
    const auto kept_bits =
        static_cast<uint16_t>(_mm512_cmplt_epu32_mask(half, _mm512_and_si512(both, _mm512_set1_epi32(0xffff))));
    const auto maybe_bits = static_cast<uint16_t>(_mm512_cmple_epu32_mask(half, _mm512_srli_epi32(both, 16)));
    std::memcpy(kept + i / 8, &kept_bits, 2);
    std::memcpy(maybe + i / 8, &maybe_bits, 2);
  }
  return i;
}

MG_TARGET_AVX2 int64_t DecideAvx2(const uint32_t* words, const uint16_t* bins, const uint32_t* bounds, int64_t count,
                                  uint8_t* kept, uint8_t* maybe) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i bin = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bins + i)));
    const __m256i both = _mm256_i32gather_epi32(reinterpret_cast<const int*>(bounds), bin, 4);
    const __m256i half = _mm256_srli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + i)), 16);
    const __m256i below = _mm256_cmpgt_epi32(_mm256_and_si256(both, _mm256_set1_epi32(0xffff)), half);
    const __m256i beyond = _mm256_cmpgt_epi32(half, _mm256_srli_epi32(both, 16));
    kept[i / 8] = static_cast<uint8_t>(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
    maybe[i / 8] = static_cast<uint8_t>(~_mm256_movemask_ps(_mm256_castsi256_ps(beyond)));
  }
  return i;
}

#else
bool HasAvx512() { return false; }
#endif

}  // namespace

bool RowBins::Count(const FloatTensor& base, const FloatTensor& source, int64_t begin, int64_t row, const RankedMask& mask) {
  row_ = row;
  magnitudes_.resize(row + kPadding);
  Extent extent;
#ifdef MG_AVX2
  const bool stored = HasAvx512() && base.dtype == DType::kBF16 && source.dtype == DType::kBF16;
  if (stored) extent = MagnitudesBF16(base.data + 2 * begin, source.data + 2 * begin, row, magnitudes_.data());
#else
  const bool stored = false;
#endif
  if (!stored) {
    differences_.resize(row);
    LoadDifference(base, source, begin, row, differences_.data());
    extent = MagnitudesOf(differences_.data(), row, magnitudes_.data());
  }
  std::fill_n(magnitudes_.begin() + row, kPadding, 0xffffffffu);
  if (extent.most >= kExponent) return false;

  permuted_ = HasAvx512() && row <= kPermutedRowMax;
  size_ = permuted_ ? kPermutedBins : static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(row)));
  const float range = std::min(std::bit_cast<float>(extent.most), kMeans * extent.sum / static_cast<float>(row));
  const float scale = static_cast<float>(size_ - 1) / range;
  if (!std::isfinite(scale)) return false;
  const auto last = static_cast<int32_t>(size_ - 1);
  bounds_.resize(size_);
  double pairs;
#ifdef MG_AVX2
  if (permuted_) {
    byte_bins_.resize(row + kPadding);
    FillByteBins(magnitudes_.data(), scale, row, byte_bins_.data());
    uint16_t counts[kTables * kPermutedBins];  // of at most kPermutedRowMax elements
    CountByteBins(byte_bins_.data(), row, counts);
    pairs = FillBoundsAvx512(counts, size_, mask, bounds_.data());
    return pairs * static_cast<double>(mask.step) <= kLookUpsMax;
  }
  bins_.resize(row + kPadding);
  counts_.resize(kTables * size_);
  if (HasAvx512() && size_ % 16 == 0) {
    FillBinsAvx512(magnitudes_.data(), scale, last, row, bins_.data());
    CountBins(bins_.data(), row, size_, counts_.data());
    pairs = FillBoundsAvx512(counts_.data(), size_, mask, bounds_.data());
    return pairs * static_cast<double>(mask.step) <= kLookUpsMax;
  }
#else
  bins_.resize(row + kPadding);
  counts_.resize(kTables * size_);
#endif
  FillBins(magnitudes_.data(), scale, last, row, bins_.data());
  CountBins(bins_.data(), row, size_, counts_.data());
  pairs = FillBounds(counts_.data(), size_, mask, bounds_.data());
  return pairs * static_cast<double>(mask.step) <= kLookUpsMax;
}

void RowBins::Decide(const uint32_t* words, int64_t first, int64_t count, uint8_t* kept, uint8_t* maybe) const {
  int64_t done = 0;
#ifdef MG_AVX2
  if (permuted_) return DecidePermuted(words, byte_bins_.data() + first, bounds_.data(), count, kept, maybe);
  const uint16_t* const bins = bins_.data() + first;
  if (HasAvx512()) {
    done = DecideAvx512(words, bins, bounds_.data(), count, kept, maybe);
  } else if (HasAvx2()) {
    done = DecideAvx2(words, bins, bounds_.data(), count, kept, maybe);
  }
#else
  const uint16_t* const bins = bins_.data() + first;
#endif
  DecidePlain(words, bins, bounds_.data(), done, count, kept, maybe);
}

uint32_t RowBins::Rank(int64_t element) const {
#ifdef MG_AVX2
  if (HasAvx512()) return RankAvx512(magnitudes_.data(), row_, element);
#endif
  const uint32_t value = magnitudes_[element];
  return CountBelow(magnitudes_.data(), 0, element, value, true) +
         CountBelow(magnitudes_.data(), element + 1, row_, value, false);
}

}  // namespace merganser

#include "worker/merge/row_ranks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "worker/merge/avx2.h"
#include "worker/merge/block_math.h"
#include "worker/merge/multiversion.h"
#include "worker/merge/prefetch.h"

namespace merganser {
namespace {

// Sorts `count` entries (magnitude << 32 | index) by magnitude, stably: least significant digit first.
template <int kDigitBits>
void RadixSort(int64_t count, std::vector<uint64_t>& from, std::vector<uint64_t>& to) {
  constexpr int kDigits = (31 + kDigitBits - 1) / kDigitBits;
  constexpr int kValues = 1 << kDigitBits;
  uint32_t counts[kDigits][kValues] = {};
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t key = static_cast<uint32_t>(from[i] >> 32);
    for (int d = 0; d < kDigits; ++d) ++counts[d][key >> (d * kDigitBits) & (kValues - 1)];
  }
  for (int d = 0; d < kDigits; ++d) {
    const int shift = 32 + d * kDigitBits;
    // A digit that all share (the low bits of differences of bf16 values, often) moves nothing.
    if (counts[d][from[0] >> shift & (kValues - 1)] == count) continue;
    uint32_t sum = 0;
    for (uint32_t& c : counts[d]) sum += std::exchange(c, sum);
    for (int64_t i = 0; i < count; ++i) to[counts[d][from[i] >> shift & (kValues - 1)]++] = from[i];
    from.swap(to);
  }
}

constexpr uint32_t kExponent = 0x7f800000u;
// Exact ranks that FillKeptOfRow may look up by reading the row again: more than that, and sorting it is quicker.
constexpr double kLookUpsMax = 128;

// magnitudes = bits of |x|; the largest of them.
MG_MULTIVERSION uint32_t Magnitudes(const float* __restrict x, int64_t count, uint32_t* __restrict magnitudes) {
  uint32_t most = 0;
  for (int64_t i = 0; i < count; ++i) {
    magnitudes[i] = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
    most = std::max(most, magnitudes[i]);
  }
  return most;
}

// bins = |x| * scale rounded down, at most `last`: never falls with the magnitude.
MG_MULTIVERSION void Bins(const uint32_t* __restrict magnitudes, float scale, int32_t last, int64_t count,
                          uint32_t* __restrict bins) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bin = static_cast<int32_t>(std::bit_cast<float>(magnitudes[i]) * scale);
    bins[i] = static_cast<uint32_t>(std::min(bin, last));
  }
}

// How many of [begin, end) are below `value`, or (`or_equal`) at most `value`.
MG_MULTIVERSION uint32_t CountBelow(const uint32_t* magnitudes, int64_t begin, int64_t end, uint32_t value, bool or_equal) {
  const auto bound = static_cast<int32_t>(value + (or_equal ? 1 : 0));
  uint32_t below = 0;
  for (int64_t i = begin; i < end; ++i) below += static_cast<int32_t>(magnitudes[i]) < bound ? 1 : 0;
  return below;
}

constexpr int kTables = 4;  // of counts: a count that has just been changed is slow to change again

// counts[table * size + bin]: how often each bin below `size` occurs, in kTables parts.
void CountBins(const uint32_t* bins, int64_t count, size_t size, std::vector<uint32_t>& counts) {
  counts.assign(kTables * size, 0);
  uint32_t* const table = counts.data();
  int64_t i = 0;
  for (; i + kTables <= count; i += kTables) {
    for (int t = 0; t < kTables; ++t) ++table[static_cast<size_t>(t) * size + bins[i + t]];
  }
  for (; i < count; ++i) ++table[bins[i]];
}

// bounds[bin]: the first rank of the bin's elements, and 65536 times the last. Returns the sum of the squares of the counts.
#ifdef MG_AVX2
MG_TARGET_AVX512 double BoundsOfBinsAvx512(const uint32_t* counts, size_t size, uint32_t* bounds) {
  const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi32(1), last = _mm512_set1_epi32(15);
  __m512i before = zero;
  __m512d pairs = _mm512_setzero_pd();
  for (size_t bin = 0; bin < size; bin += 16) {
    __m512i own = zero;
    for (int t = 0; t < kTables; ++t)
      own = _mm512_add_epi32(own, _mm512_loadu_si512(counts + static_cast<size_t>(t) * size + bin));
    __m512i through = own;  // sums up to each bin
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 15));
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 14));
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 12));
    through = _mm512_add_epi32(through, _mm512_alignr_epi32(through, zero, 8));
    through = _mm512_add_epi32(through, before);
    before = _mm512_permutexvar_epi32(last, through);
    const __m512i first = _mm512_sub_epi32(through, own);
    _mm512_storeu_si512(bounds + bin, _mm512_or_si512(first, _mm512_slli_epi32(_mm512_sub_epi32(through, one), 16)));
    const __m512d low = _mm512_cvtepi32_pd(_mm512_castsi512_si256(own)),
                  high = _mm512_cvtepi32_pd(_mm512_extracti32x8_epi32(own, 1));
    pairs = _mm512_add_pd(pairs, _mm512_add_pd(_mm512_mul_pd(low, low), _mm512_mul_pd(high, high)));
  }
  return _mm512_reduce_add_pd(pairs);
}
#endif

double BoundsOfBins(const uint32_t* counts, size_t size, uint32_t* bounds) {
#ifdef MG_AVX2
  if (HasAvx512() && size % 16 == 0) return BoundsOfBinsAvx512(counts, size, bounds);
#endif
  uint64_t pairs = 0;
  uint32_t rank = 0;
  for (size_t bin = 0; bin < size; ++bin) {
    uint32_t own = 0;
    for (size_t t = 0; t < kTables; ++t) own += counts[t * size + bin];
    pairs += uint64_t{own} * own;
    bounds[bin] = rank | (rank + own - 1) << 16;
    rank += own;
  }
  return static_cast<double>(pairs);
}

}  // namespace

void FillKeptByRank(const RankedMask& mask, const MaskStream& stream, const uint32_t* ranks, int64_t first, int64_t count,
                    uint32_t* words, uint8_t* bits) {
  for (int64_t at = 0; at < count; at += kKeptPiece) {
    const int64_t n = std::min(kKeptPiece, count - at);
    stream.Fill(first + at, n, words);
    FillRankedBits(words, ranks + at, mask, n, bits + at / 8);
  }
}

RowRanks::RowRanks(const FloatTensor& base, const FloatTensor& source, absl::Span<const int64_t> shape)
    : base_(base), source_(source) {
  row_ = shape.size() < 2 ? base.count : shape[1];
  slab_ = row_;
  for (size_t d = 2; d < shape.size(); ++d) slab_ *= shape[d];
  if (base.count == 0) row_ = slab_ = 1;
}

void RowRanks::MakeRoom() {
  if (row_ <= 65536) {
    short_.resize(base_.count);
  } else {
    long_.resize(base_.count);
  }
}

void RowRanks::LoadDifferences(int64_t first, int64_t count, Scratch& s) const {
  s.base.resize(count);
  s.source.resize(count);
  LoadBlock(base_, first, count, s.base.data());
  LoadBlock(source_, first, count, s.source.data());
  Subtract(s.base.data(), count, s.source.data());
}

void RowRanks::Rank(int64_t slab, Scratch& s) const {
  s.ranks.resize(slab_);
  s.from.resize(row_);
  s.to.resize(row_);
  LoadDifferences(slab * slab_, slab_, s);
  const int64_t rows = slab_ / row_;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < row_; ++i) {
      const uint64_t magnitude = std::bit_cast<uint32_t>(s.source[i * rows + r]) & 0x7fffffffu;
      s.from[i] = magnitude << 32 | static_cast<uint64_t>(i);
    }
    // Wider digits need fewer passes, but more counters.
    if (row_ < 4096) {
      RadixSort<8>(row_, s.from, s.to);
    } else {
      RadixSort<11>(row_, s.from, s.to);
    }
    for (int64_t i = 0; i < row_; ++i) s.ranks[(s.from[i] & 0xffffffffu) * rows + r] = static_cast<uint32_t>(i);
  }
}

void RowRanks::Store(int64_t first_slab, int64_t count, Scratch& scratch) {
  for (int64_t slab = first_slab; slab < first_slab + count; ++slab) {
    Rank(slab, scratch);
    if (!short_.empty()) {
      std::copy(scratch.ranks.begin(), scratch.ranks.end(), short_.begin() + slab * slab_);
    } else {
      std::copy(scratch.ranks.begin(), scratch.ranks.end(), long_.begin() + slab * slab_);
    }
  }
}

void RowRanks::Fill(int64_t first, int64_t count, Scratch& scratch, uint32_t* ranks) const {
  if (!short_.empty()) {
    std::copy_n(short_.begin() + first, count, ranks);
  } else if (!long_.empty()) {
    std::copy_n(long_.begin() + first, count, ranks);
  } else {
    for (int64_t at = first; at < first + count;) {
      const int64_t slab = at / slab_, end = std::min(first + count, (slab + 1) * slab_);
      Rank(slab, scratch);
      std::copy(scratch.ranks.begin() + (at - slab * slab_), scratch.ranks.begin() + (end - slab * slab_),
                ranks + (at - first));
      at = end;
    }
  }
}

void RowRanks::FillKept(const RankedMask& mask, const MaskStream& stream, int64_t first, int64_t count, Scratch& s,
                        uint8_t* bits) const {
  s.words.resize(kKeptPiece);
  const bool kept = !short_.empty() || !long_.empty();
  // Bounds are 16 bits each, and a row's bits begin with a byte.
  if (kept || slab_ != row_ || row_ > 65536 || row_ % 8 != 0) {
    s.counts.resize(count);
    Fill(first, count, s, s.counts.data());
    FillKeptByRank(mask, stream, s.counts.data(), first, count, s.words.data(), bits);
    return;
  }
  for (int64_t at = first; at < first + count;) {
    const int64_t row = at / row_, end = std::min(first + count, (row + 1) * row_);
    uint8_t* own = bits + (at - first) / 8;
    if (!FillKeptOfRow(mask, stream, at, end - at, s, own)) {
      Rank(row, s);
      FillKeptByRank(mask, stream, s.ranks.data() + (at - row * row_), at, end - at, s.words.data(), own);
    }
    at = end;
  }
}

bool RowRanks::FillKeptOfRow(const RankedMask& mask, const MaskStream& stream, int64_t first, int64_t count, Scratch& s,
                             uint8_t* bits) const {
  const int64_t begin = first / row_ * row_;
  LoadDifferences(begin, row_, s);
  Prefetch(base_, begin + row_, row_);
  Prefetch(source_, begin + row_, row_);
  s.magnitudes.resize(row_);
  const uint32_t most = Magnitudes(s.source.data(), row_, s.magnitudes.data());
  const auto last = static_cast<int32_t>(std::bit_floor(static_cast<uint64_t>(row_))) - 1;
  const float scale = static_cast<float>(last) / std::bit_cast<float>(most);
  if (most >= kExponent || !std::isfinite(scale)) return false;
  s.bins.resize(row_);
  Bins(s.magnitudes.data(), scale, last, row_, s.bins.data());
  s.counts.resize(last + 1);
  CountBins(s.bins.data(), row_, s.counts.size(), s.ranks);
  // An element is looked up if its word falls between the probabilities of its bin's first and last rank. (What empty bins
  // get means nothing.)
  const double pairs = BoundsOfBins(s.ranks.data(), s.counts.size(), s.counts.data());
  if (pairs * static_cast<double>(mask.step) > kLookUpsMax) return false;
  s.high.resize(kKeptPiece / 8);
  for (int64_t at = 0; at < count; at += kKeptPiece) {
    const int64_t n = std::min(kKeptPiece, count - at);
    uint8_t* low = bits + at / 8;
    stream.Fill(first + at, n, s.words.data());
    FillBoundedBits(s.words.data(), s.bins.data() + (first + at - begin), s.counts.data(), mask, n, low, s.high.data());
    for (int64_t byte = 0; byte * 8 < n; ++byte) {
      for (uint32_t open = s.high[byte] & ~static_cast<uint32_t>(low[byte]); open != 0; open &= open - 1) {
        const int64_t bit = std::countr_zero(open), own = first + at + byte * 8 + bit - begin;
        if (byte * 8 + bit >= n) break;
        const uint32_t value = s.magnitudes[own];
        const uint32_t exact = CountBelow(s.magnitudes.data(), 0, own, value, true) +
                               CountBelow(s.magnitudes.data(), own + 1, row_, value, false);
        if (mask.Keeps(s.words[byte * 8 + bit], exact)) low[byte] |= static_cast<uint8_t>(1u << bit);
      }
    }
  }
  return true;
}

}  // namespace merganser

#include "worker/merge/row_ranks.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "worker/merge/block_math.h"
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

void RowRanks::Rank(int64_t slab, Scratch& s) const {
  s.ranks.resize(slab_);
  s.from.resize(row_);
  s.to.resize(row_);
  s.differences.resize(slab_);
  LoadDifference(base_, source_, slab * slab_, slab_, s.differences.data());
  const int64_t rows = slab_ / row_;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < row_; ++i) {
      const uint64_t magnitude = std::bit_cast<uint32_t>(s.differences[i * rows + r]) & 0x7fffffffu;
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
  // Bins are 16 bits each, and a row's bits begin with a byte.
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
  Prefetch(base_, begin + row_, row_);
  Prefetch(source_, begin + row_, row_);
  if (!s.bins.Count(base_, source_, begin, row_, mask)) return false;
  s.maybe.resize(kKeptPiece / 8);
  for (int64_t at = 0; at < count; at += kKeptPiece) {
    const int64_t n = std::min(kKeptPiece, count - at);
    uint8_t* kept = bits + at / 8;
    stream.Fill(first + at, n, s.words.data());
    s.bins.Decide(s.words.data(), first + at - begin, n, kept, s.maybe.data());
    for (int64_t from = 0; from < n; from += 64) {
      uint64_t sure = 0, open = 0;
      const auto bytes = static_cast<size_t>(std::min<int64_t>(8, (n - from + 7) / 8));
      std::memcpy(&sure, kept + from / 8, bytes);
      std::memcpy(&open, s.maybe.data() + from / 8, bytes);
      for (open &= ~sure; open != 0; open &= open - 1) {
        const int64_t own = from + std::countr_zero(open);
        if (own >= n) break;
        if (!mask.Keeps(s.words[own], s.bins.Rank(first + at - begin + own))) continue;
        kept[own / 8] = static_cast<uint8_t>(kept[own / 8] | 1u << own % 8);
      }
    }
  }
  return true;
}

}  // namespace merganser

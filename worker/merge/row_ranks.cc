#include "worker/merge/row_ranks.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "worker/merge/block_math.h"

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
  s.base.resize(slab_);
  s.source.resize(slab_);
  s.ranks.resize(slab_);
  s.from.resize(row_);
  s.to.resize(row_);
  LoadBlock(base_, slab * slab_, slab_, s.base.data());
  LoadBlock(source_, slab * slab_, slab_, s.source.data());
  Subtract(s.base.data(), slab_, s.source.data());
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

}  // namespace merganser

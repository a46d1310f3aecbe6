#include "worker/merge/magnitude_index.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/base/log.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

constexpr int kLowBits = 15;  // of the 31 bits of a magnitude; the histogram has the other 16
constexpr int kLowValues = 1 << kLowBits;
constexpr int64_t kBlock = MagnitudeIndex::kBlock;
constexpr int64_t kCollectedMax = int64_t{1} << 20;  // elements of one bin that are sorted rather than counted

MG_MULTIVERSION void Magnitudes(const float* __restrict x, int64_t count, uint32_t* __restrict magnitudes) {
  for (int64_t i = 0; i < count; ++i) magnitudes[i] = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
}

// Number of magnitudes in `bin`, in a loop that vectorises: most runs have none or few.
MG_MULTIVERSION int64_t CountInBin(const uint32_t* magnitudes, int64_t count, uint32_t bin) {
  int32_t found = 0;
  for (int64_t i = 0; i < count; ++i) found += magnitudes[i] >> kLowBits == bin ? 1 : 0;
  return found;
}

// Calls visit(first, magnitudes, count) for blocks of the values' magnitudes, until it returns false.
template <typename Visit>
void ForMagnitudes(const MagnitudeIndex::Load& load, int64_t total, Visit visit) {
  float x[kBlock];
  uint32_t magnitudes[kBlock];
  for (int64_t first = 0; first < total; first += kBlock) {
    const int64_t n = std::min(kBlock, total - first);
    load(first, n, x);
    Magnitudes(x, n, magnitudes);
    if (!visit(first, magnitudes, n)) return;
  }
}

MagnitudeIndex::Load TaskVector(const FloatTensor& base, const FloatTensor& source) {
  return [base, source](int64_t first, int64_t count, float* out) {
    float b[kBlock];
    LoadBlock(base, first, count, b);
    LoadBlock(source, first, count, out);
    Subtract(b, count, out);
  };
}

constexpr MagnitudeCut kKeepAll{};
constexpr MagnitudeCut kKeepNone = kNoOutliers;

}  // namespace

int64_t MagnitudeIndex::KeptCount(double density, int64_t count) {
  if (density >= 1) return count;
  if (density <= 0 || count == 0) return 0;
  return std::max<int64_t>(1, static_cast<int64_t>(density * static_cast<double>(count)));
}

MagnitudeIndex MagnitudeIndex::BuildOrder(const FloatTensor& base, const FloatTensor& source) {
  MG_CHECK(base.count == source.count);
  return BuildOrder(base.count, TaskVector(base, source));
}

MagnitudeIndex MagnitudeIndex::BuildHistogram(const FloatTensor& base, const FloatTensor& source) {
  MG_CHECK(base.count == source.count);
  return BuildHistogram(base.count, TaskVector(base, source));
}

uint32_t MagnitudeIndex::MagnitudeAt(int64_t i) const {
  float x;
  load_(i, 1, &x);
  return std::bit_cast<uint32_t>(x) & 0x7fffffffu;
}

MagnitudeIndex MagnitudeIndex::BuildOrder(int64_t count, Load load) {
  MG_CHECK(count < (int64_t{1} << 32));
  const size_t n = static_cast<size_t>(count);
  MagnitudeIndex index;
  index.load_ = std::move(load);
  index.count_ = count;
  // Least significant digit first, 16 and then 15 bits, of the complemented magnitude: stable, so equal ones stay in order.
  std::vector<uint32_t> keys(n), order(n);
  index.order_.resize(n);
  std::vector<uint32_t> low(1 << 16), high(1 << 15);
  int64_t zeros = 0;
  ForMagnitudes(index.load_, count, [&](int64_t first, const uint32_t* magnitudes, int64_t block) {
    for (int64_t i = 0; i < block; ++i) {
      const uint32_t key = 0x7fffffffu - magnitudes[i];
      keys[first + i] = key;
      zeros += magnitudes[i] == 0;
      ++low[key & 0xffffu];
      ++high[key >> 16];
    }
    return true;
  });
  index.nonzero_ = count - zeros;
  const auto start_positions = [](std::vector<uint32_t>& counts) {
    uint32_t sum = 0;
    for (uint32_t& value : counts) sum += std::exchange(value, sum);
  };
  start_positions(low);
  start_positions(high);
  for (size_t i = 0; i < n; ++i) order[low[keys[i] & 0xffffu]++] = static_cast<uint32_t>(i);
  for (size_t i = 0; i < n; ++i) index.order_[high[keys[order[i]] >> 16]++] = order[i];
  return index;
}

MagnitudeIndex MagnitudeIndex::BuildHistogram(int64_t count, Load load) {
  MagnitudeIndex index;
  index.load_ = std::move(load);
  index.count_ = count;
  // Two tables by turns, so that equal neighbours do not wait for each other.
  std::vector<uint32_t> even(1 << 16), odd(1 << 16);
  std::vector<int64_t> bins(1 << 16);
  int64_t zeros = 0, counted = 0;
  const auto collect = [&] {
    for (size_t b = 0; b < bins.size(); ++b) bins[b] += int64_t{std::exchange(even[b], 0)} + std::exchange(odd[b], 0);
    counted = 0;
  };
  ForMagnitudes(index.load_, count, [&](int64_t, const uint32_t* magnitudes, int64_t block) {
    int64_t i = 0;
    for (; i + 2 <= block; i += 2) {
      ++even[magnitudes[i] >> kLowBits];
      ++odd[magnitudes[i + 1] >> kLowBits];
      zeros += (magnitudes[i] == 0) + (magnitudes[i + 1] == 0);
    }
    for (; i < block; ++i) {
      ++even[magnitudes[i] >> kLowBits];
      zeros += magnitudes[i] == 0;
    }
    counted += block;
    if (counted >= (int64_t{1} << 31)) collect();
    return true;
  });
  collect();
  index.nonzero_ = count - zeros;
  const auto used = [](int64_t bin) { return bin != 0; };
  const auto first = std::find_if(bins.begin(), bins.end(), used);
  const auto end = std::find_if(bins.rbegin(), bins.rend(), used).base();
  if (first == bins.end()) return index;  // an empty tensor
  index.first_bin_ = static_cast<int>(first - bins.begin());
  index.at_or_above_.assign(first, end);
  index.at_or_above_.push_back(0);
  for (size_t i = index.at_or_above_.size() - 1; i-- > 0;) index.at_or_above_[i] += index.at_or_above_[i + 1];
  return index;
}

MagnitudeCut MagnitudeIndex::Cut(int64_t kept, Scratch& scratch) const {
  if (kept >= count_) return kKeepAll;
  if (kept <= 0) return kKeepNone;
  if (order_.empty()) return CutByHistogram(kept, /*exact=*/false, scratch);
  const int64_t last = order_[kept - 1];
  return {MagnitudeAt(last), last};
}

uint32_t MagnitudeIndex::ValueOf(int64_t kept, Scratch& scratch) const {
  return order_.empty() ? CutByHistogram(kept, /*exact=*/true, scratch).threshold : MagnitudeAt(order_[kept - 1]);
}

MagnitudeCut MagnitudeIndex::CutByHistogram(int64_t kept, bool exact, Scratch& scratch) const {
  // The bin of the last kept element: the highest one with at least `kept` elements at or above it.
  const auto end =
      std::partition_point(at_or_above_.begin(), at_or_above_.end(), [&](int64_t count) { return count >= kept; });
  const int64_t above = *end, in_bin = *(end - 1) - above;
  const uint32_t bin = static_cast<uint32_t>(first_bin_ + (end - at_or_above_.begin()) - 1);
  int64_t left = kept - above;  // to keep in this bin, at least 1
  if (left == in_bin && !exact) return {bin << kLowBits, INT64_MAX};
  if (in_bin <= kCollectedMax) {
    // Entries in descending order are the bin's ranking: low bits first, then the complement of the index.
    scratch.entries.clear();
    ForMagnitudes(load_, count_, [&](int64_t first, const uint32_t* magnitudes, int64_t count) {
      constexpr int64_t kRun = 64;
      for (int64_t at = 0; at < count; at += kRun) {
        const int64_t n = std::min(kRun, count - at);
        if (CountInBin(magnitudes + at, n, bin) == 0) continue;
        for (int64_t i = at; i < at + n; ++i) {
          if (magnitudes[i] >> kLowBits != bin) continue;
          scratch.entries.push_back(uint64_t{magnitudes[i] & (kLowValues - 1)} << 48 |
                                    ((uint64_t{1} << 48) - 1 - static_cast<uint64_t>(first + i)));
        }
      }
      return true;
    });
    const auto last = scratch.entries.begin() + (left - 1);
    std::nth_element(scratch.entries.begin(), last, scratch.entries.end(), std::greater<>());
    return {bin << kLowBits | static_cast<uint32_t>(*last >> 48),
            static_cast<int64_t>((uint64_t{1} << 48) - 1 - (*last & ((uint64_t{1} << 48) - 1)))};
  }
  std::vector<uint64_t>& counters = scratch.entries;
  counters.assign(kLowValues, 0);
  ForMagnitudes(load_, count_, [&](int64_t, const uint32_t* magnitudes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (magnitudes[i] >> kLowBits == bin) ++counters[magnitudes[i] & (kLowValues - 1)];
    }
    return true;
  });
  uint32_t low = kLowValues - 1;
  while (static_cast<int64_t>(counters[low]) < left) left -= static_cast<int64_t>(counters[low--]);
  const uint32_t threshold = bin << kLowBits | low;
  if (static_cast<int64_t>(counters[low]) == left) return {threshold, INT64_MAX};
  int64_t last = -1;
  ForMagnitudes(load_, count_, [&](int64_t first, const uint32_t* magnitudes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (magnitudes[i] == threshold && --left == 0) {
        last = first + i;
        return false;
      }
    }
    return true;
  });
  return {threshold, last};
}

}  // namespace merganser

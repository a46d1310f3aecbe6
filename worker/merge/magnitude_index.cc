#include "worker/merge/magnitude_index.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/base/log.h"

namespace merganser {
namespace {

constexpr int kLowBits = 15;  // of the 31 bits of a magnitude; the histogram has the other 16
constexpr int64_t kBlock = 4096;

// Calls visit(first, magnitudes, count) for blocks of |source - base|, until it returns false.
template <typename Visit>
void ForMagnitudes(const FloatTensor& base, const FloatTensor& source, Visit visit) {
  float b[kBlock], x[kBlock];
  uint32_t magnitudes[kBlock];
  for (int64_t first = 0; first < base.count; first += kBlock) {
    const int64_t n = std::min(kBlock, base.count - first);
    LoadBlock(base, first, n, b);
    LoadBlock(source, first, n, x);
    Subtract(b, n, x);
    for (int64_t i = 0; i < n; ++i) magnitudes[i] = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
    if (!visit(first, magnitudes, n)) return;
  }
}

uint32_t MagnitudeAt(const FloatTensor& base, const FloatTensor& source, int64_t i) {
  float b, x;
  LoadBlock(base, i, 1, &b);
  LoadBlock(source, i, 1, &x);
  return std::bit_cast<uint32_t>(x - b) & 0x7fffffffu;
}

constexpr MagnitudeCut kKeepAll{};
constexpr MagnitudeCut kKeepNone{0x7fffffffu, -1};

}  // namespace

int64_t MagnitudeIndex::KeptCount(double density, int64_t count) {
  if (density >= 1) return count;
  if (density <= 0 || count == 0) return 0;
  return std::max<int64_t>(1, static_cast<int64_t>(density * static_cast<double>(count)));
}

MagnitudeIndex MagnitudeIndex::BuildOrder(const FloatTensor& base, const FloatTensor& source) {
  MG_CHECK(base.count == source.count && base.count < (int64_t{1} << 32));
  const size_t n = static_cast<size_t>(base.count);
  MagnitudeIndex index;
  index.base_ = base;
  index.source_ = source;
  // Least significant digit first, 16 and then 15 bits, of the complemented magnitude: stable, so
  // equal ones stay in order.
  std::vector<uint32_t> keys(n), order(n);
  index.order_.resize(n);
  std::vector<uint32_t> low(1 << 16), high(1 << 15);
  ForMagnitudes(base, source, [&](int64_t first, const uint32_t* magnitudes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t key = 0x7fffffffu - magnitudes[i];
      keys[first + i] = key;
      ++low[key & 0xffffu];
      ++high[key >> 16];
    }
    return true;
  });
  const auto start_positions = [](std::vector<uint32_t>& counts) {
    uint32_t sum = 0;
    for (uint32_t& count : counts) sum += std::exchange(count, sum);
  };
  start_positions(low);
  start_positions(high);
  for (size_t i = 0; i < n; ++i) order[low[keys[i] & 0xffffu]++] = static_cast<uint32_t>(i);
  for (size_t i = 0; i < n; ++i) index.order_[high[keys[order[i]] >> 16]++] = order[i];
  return index;
}

MagnitudeIndex MagnitudeIndex::BuildHistogram(const FloatTensor& base, const FloatTensor& source) {
  MG_CHECK(base.count == source.count);
  MagnitudeIndex index;
  index.base_ = base;
  index.source_ = source;
  std::vector<int64_t> bins(1 << 16);
  ForMagnitudes(base, source, [&](int64_t, const uint32_t* magnitudes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) ++bins[magnitudes[i] >> kLowBits];
    return true;
  });
  const auto used = [](int64_t count) { return count != 0; };
  const auto first = std::find_if(bins.begin(), bins.end(), used);
  const auto end = std::find_if(bins.rbegin(), bins.rend(), used).base();
  if (first == bins.end()) return index;  // an empty tensor
  index.first_bin_ = static_cast<int>(first - bins.begin());
  index.at_or_above_.assign(first, end);
  index.at_or_above_.push_back(0);
  for (size_t i = index.at_or_above_.size() - 1; i-- > 0;)
    index.at_or_above_[i] += index.at_or_above_[i + 1];
  return index;
}

MagnitudeCut MagnitudeIndex::Cut(int64_t kept, uint64_t* counters) const {
  if (kept >= base_.count) return kKeepAll;
  if (kept <= 0) return kKeepNone;
  if (order_.empty()) return CutByHistogram(kept, counters);
  const int64_t last = order_[kept - 1];
  return {MagnitudeAt(base_, source_, last), last};
}

MagnitudeCut MagnitudeIndex::CutByHistogram(int64_t kept, uint64_t* counters) const {
  // The bin of the last kept element: the highest one with at least `kept` elements at or above it.
  const auto end = std::partition_point(at_or_above_.begin(), at_or_above_.end(),
                                        [&](int64_t count) { return count >= kept; });
  const int64_t above = *end;
  const uint32_t bin = static_cast<uint32_t>(first_bin_ + (end - at_or_above_.begin()) - 1);
  std::fill(counters, counters + kCounters, 0);
  ForMagnitudes(base_, source_, [&](int64_t, const uint32_t* magnitudes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (magnitudes[i] >> kLowBits == bin) ++counters[magnitudes[i] & (kCounters - 1)];
    }
    return true;
  });
  uint64_t left = static_cast<uint64_t>(kept - above);  // to keep in this bin, at least 1
  uint32_t low = kCounters - 1;
  while (counters[low] < left) left -= counters[low--];
  const uint32_t threshold = bin << kLowBits | low;
  if (counters[low] == left) return {threshold, INT64_MAX};
  int64_t last = -1;
  ForMagnitudes(base_, source_, [&](int64_t first, const uint32_t* magnitudes, int64_t count) {
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

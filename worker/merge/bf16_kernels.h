// Whole merges of bf16 values in one pass: load, merge and store without a stop in memory, which is what keeps a merge near
// the speed of a copy. Operation by operation those of block_math.h and StoreBlock, so the same bits. Addresses need no
// alignment.
#ifndef MERGANSER_WORKER_MERGE_BF16_KERNELS_H_
#define MERGANSER_WORKER_MERGE_BF16_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace merganser {

inline constexpr int kBF16SourcesMax = 4;  // of all kernels here

// These return false if a result is not finite. REQUIRES: 1 <= sources <= kBF16SourcesMax.

// out = sum_s weights[s] x[s], / divisor if `divide`.
bool WeightedSumBF16(const std::byte* const* x, const float* weights, int sources, bool divide, float divisor, int64_t count,
                     std::byte* out);

// out = base + lambda * (sum_s weights[s] (x[s] - base)), the sum / divisor if `divide`.
bool AddTaskVectorsBF16(const std::byte* base, const std::byte* const* x, const float* weights, int sources, bool divide,
                        float divisor, float lambda, int64_t count, std::byte* out);

// What TIES does to one source: elements of x - base whose magnitude's bits are at least `threshold`, times scale, times
// weight.
struct TrimmedSource {
  const std::byte* x;
  uint32_t threshold;
  float scale;
  float weight;
};

// out = base + lambda * the sum of what agrees with its sign (SumAgreeing), divided by the agreeing weights if `normalize`.
bool MergeBySignBF16(const std::byte* base, const TrimmedSource* sources, int count_of_sources, bool normalize, float lambda,
                     int64_t count, std::byte* out);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_BF16_KERNELS_H_

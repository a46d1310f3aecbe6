// The arithmetic of merge methods on blocks of fp32 values. Every operation is rounded on its own
// (no fused multiply-add) and sums run in a fixed order, so results do not depend on the
// instruction set, the block size or the threads.
#ifndef MERGANSER_WORKER_MERGE_BLOCK_MATH_H_
#define MERGANSER_WORKER_MERGE_BLOCK_MATH_H_

#include <array>
#include <cstdint>

namespace merganser {

// Which elements of a task vector survive trimming by magnitude: those above `threshold`, and of
// those equal to it the ones at or before `last_index`. The default keeps everything.
struct MagnitudeCut {
  uint32_t threshold = 0;          // bits of an fp32 magnitude
  int64_t last_index = INT64_MAX;  // row-major position in the tensor; -1: none of the equal ones
};

// acc += weight * x.
void AddScaled(const float* x, float weight, int64_t count, float* acc);
// acc += weight * (x - base).
void AddScaledDifference(const float* x, const float* base, float weight, int64_t count,
                         float* acc);
// x -= base.
void Subtract(const float* base, int64_t count, float* x);
// x *= factor.
void Scale(float factor, int64_t count, float* x);
// x /= divisor.
void Divide(float divisor, int64_t count, float* x);
// x[i] /= divisors[i].
void DivideEach(const float* divisors, int64_t count, float* x);
// out = base + factor * x.
void AddToBase(const float* base, const float* x, float factor, int64_t count, float* out);
// Zeroes what `cut` does not keep; x[0] is element `first` of the tensor.
void Trim(const MagnitudeCut& cut, int64_t first, int64_t count, float* x);
// Zeroes x[i] where words[i] > limit.
void KeepMasked(const uint32_t* words, uint32_t limit, int64_t count, float* x);

// Elects a sign for each element, + where the sum of the `sources` blocks of x is not negative, and
// sums what agrees with it: sum[i] of the agreeing x[s][i], weight_sum[i] of their weights (1 where
// that is 0). Zeros agree with nothing.
void SumAgreeing(float* const* x, const float* weights, int sources, int64_t count, float* sum,
                 float* weight_sum);

// Eight interleaved fp64 sums: element i adds to lane i % 8, so that blocks (of multiples of 8) do
// not change the order.
using L1Lanes = std::array<double, 8>;
// Adds |x[i]|.
void AddL1(const float* x, int64_t count, L1Lanes& lanes);
double Total(const L1Lanes& lanes);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_BLOCK_MATH_H_

// The arithmetic of merge methods on blocks of fp32 values. Every operation is rounded on its own
// (no fused multiply-add) and sums run in a fixed order, so results do not depend on the
// instruction set, the block size or the threads.
#ifndef MERGANSER_WORKER_MERGE_BLOCK_MATH_H_
#define MERGANSER_WORKER_MERGE_BLOCK_MATH_H_

#include <array>
#include <cstdint>

#include "worker/merge/float_blocks.h"
#include "worker/merge/masks.h"

namespace merganser {

// Which elements of a task vector survive trimming by magnitude: those above `threshold`, and of
// those equal to it the ones at or before `last_index`. The default keeps everything.
struct MagnitudeCut {
  uint32_t threshold = 0;          // bits of an fp32 magnitude
  int64_t last_index = INT64_MAX;  // row-major position in the tensor; -1: none of the equal ones
  bool operator==(const MagnitudeCut&) const = default;
};
// As a cut, it keeps nothing; as what Drop() removes, it removes nothing.
inline constexpr MagnitudeCut kNoOutliers{0x7fffffffu, -1};

// acc += weight * x.
void AddScaled(const float* x, float weight, int64_t count, float* acc);
// acc += weight * (x - base).
void AddScaledDifference(const float* x, const float* base, float weight, int64_t count, float* acc);
// x -= base.
void Subtract(const float* base, int64_t count, float* x);
// x = source - base, of elements [first, first + count).
void LoadDifference(const FloatTensor& base, const FloatTensor& source, int64_t first, int64_t count, float* x);
// x *= factor.
void Scale(float factor, int64_t count, float* x);
// x /= divisor.
void Divide(float divisor, int64_t count, float* x);
// x[i] /= divisors[i].
void DivideEach(const float* divisors, int64_t count, float* x);
// x[i] *= factors[i].
void MultiplyEach(const float* factors, int64_t count, float* x);
// out = base + factor * x.
void AddToBase(const float* base, const float* x, float factor, int64_t count, float* out);
// Zeroes what `cut` does not keep; x[0] is element `first` of the tensor.
void Trim(const MagnitudeCut& cut, int64_t first, int64_t count, float* x);
// Zeroes what `cut` keeps.
void Drop(const MagnitudeCut& cut, int64_t first, int64_t count, float* x);
// Bits of masks: element i has bit i % 8 of byte i / 8; those behind `count` are of no meaning.
// Zeroes x[i] where its bit is 0.
void KeepBits(const uint8_t* bits, int64_t count, float* x);
// x = (x - base where the bit is 1, else 0) * scale * weight.
void MaskedDifference(const float* base, const uint8_t* bits, float scale, float weight, int64_t count, float* x);
// Sets the bits of what `mask` keeps; ranks[i] is the rank of element i in its row. `bits` may begin
// where `words` do.
void FillRankedBits(const uint32_t* words, const uint32_t* ranks, const RankedMask& mask, int64_t count, uint8_t* bits);
// Zeroes x[i] where mask[i] is 0.
void KeepWhereNonzero(const float* mask, int64_t count, float* x);
// x[i] /= its probability in `mask`.
void DivideByProbability(const uint32_t* ranks, const RankedMask& mask, int64_t count, float* x);

// Elects a sign for each element, + where the sum of the `sources` blocks of x is not negative, and
// sums what agrees with it: sum[i] of the agreeing x[s][i], weight_sum[i] of their weights (1 where
// that is 0). Zeros agree with nothing.
void SumAgreeing(float* const* x, const float* weights, int sources, int64_t count, float* sum, float* weight_sum);

// sce: elects signs as above over task vectors x, and averages what agrees with its weights:
// out[i] = sum_s w_s x[s][i] / max(sum_s w_s, 1e-6) over the agreeing sources. `weight_sum` is scratch.
void AverageAgreeing(float* const* x, const float* weights, int sources, int64_t count, float* out, float* weight_sum);

// out[i] = the (biased) variance of x[0][i] ... x[sources - 1][i], computed in fp64.
void Variance(const float* const* x, int sources, int64_t count, float* out);

// ram: out = base + the sum over the task vectors of sources x, elements of magnitude above `epsilon` only, each times
// own_factors[s] where no other source has one, divided by the number of sources that have one else.
void SumOwnAndShared(const float* base, float* const* x, const float* own_factors, int sources, float epsilon, int64_t count,
                     float* out);

// nearswap: out = v x + (1 - v) base, v = clamp(t / max(|base - x|, 1e-6), 0, 1).
void SwapNear(const float* base, const float* x, float t, int64_t count, float* out);

// Eight interleaved fp64 sums: element i adds to lane i % 8, so that blocks (of multiples of 8) do
// not change the order.
using L1Lanes = std::array<double, 8>;
// Adds |x[i]|.
void AddL1(const float* x, int64_t count, L1Lanes& lanes);
// Adds |x[i] - base[i]| to `whole`, and where the bit is 1 (masks as bits, above) also to `kept`.
void AddMaskedL1(const float* x, const float* base, const uint8_t* bits, int64_t count, L1Lanes& whole, L1Lanes& kept);
// Adds x[i]^2.
void AddSquares(const float* x, int64_t count, L1Lanes& lanes);
double Total(const L1Lanes& lanes);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_BLOCK_MATH_H_

// Steps that several methods on task vectors (source - base) share.
#ifndef MERGANSER_WORKER_MERGE_METHODS_TASK_VECTORS_H_
#define MERGANSER_WORKER_MERGE_METHODS_TASK_VECTORS_H_

#include <cstddef>
#include <optional>

#include "worker/merge/merge_method.h"

namespace merganser {

// The terms' weights in one array, as block_math.h wants them.
class SourceWeights {
 public:
  explicit SourceWeights(const TensorTerms& terms);
  const float* data() const { return weights_; }
  int size() const { return size_; }

 private:
  float weights_[64];  // limits::kModelsMax
  int size_;
};

// block.sources[source] = w * r * thinned(x - base); r is term.kept_scale, or 1 / the element's probability if the term's
// RankedMask says so.
void ThinnedTaskVector(const SourceTerm& term, const MergeBlock& block, size_t source);

// The bits of what the term's mask keeps (block_math.h), of elements [first, first + count): those that are known already,
// or in `words`, which is scratch as in MergeBlock; null if it has no mask. `kept`: those of the elements, if the mask is by
// rank. REQUIRES: first % 8 == 0.
const uint8_t* MaskBits(const SourceTerm& term, const uint8_t* kept, int64_t first, int64_t count, uint32_t* words);

// x = thinned(x - base): by magnitude, at random, or at random by rank, whichever the term says. `x` holds the source;
// `kept` and `words` as above.
void Thin(const SourceTerm& term, const float* base, const uint8_t* kept, int64_t first, int64_t count, uint32_t* words,
          float* x);

// Zeroes the elements of all `sources` blocks x of task vectors whose variance across them `cut` does not keep. `variance`
// is scratch.
void MaskByVariance(const MagnitudeCut& cut, float* const* x, int sources, int64_t first, int64_t count, float* variance);

// out = the sum of block.sources.
void AddUp(const TensorTerms& terms, const MergeBlock& block, float* out);

// out = base + lambda * D / Z. D, the sum of the weighted task vectors, is in `out` already; Z, if `normalize`, is the sum
// of the weights (1 where that is within 1e-8 of 0), else 1.
// PlainDivisor is that Z, where anything is to be divided by it.
std::optional<float> PlainDivisor(const TensorTerms& terms);
void AddPlainSum(const TensorTerms& terms, const MergeBlock& block, float* out);

// out = base + lambda * D / Z with TIES' election of signs over the weighted task vectors in block.sources: D sums, element
// by element, those that agree with the sign of their total (+ for a total of 0), and Z, if `normalize`, their weights (1
// for 0).
void MergeBySign(const TensorTerms& terms, const MergeBlock& block, float* out);

// TIES with thresholds that are known, as MergeMethod::MergeBF16; nullopt with masks, outliers or too many sources.
std::optional<bool> MergeTrimmedBF16(const TensorTerms& terms, const BF16Block& block);

// DARE and DELLA with masks that are known or drawn by word alone, as MergeMethod::MergeBF16: signs elected as by
// MergeBySign, or summed as by AddPlainSum. nullopt where the machine has no kernel for it, with ranks of which no mask is
// known, or too many sources.
enum class MaskedSum { kPlain, kBySign };
std::optional<bool> MergeMaskedBF16(MaskedSum sum, const TensorTerms& terms, const BF16Block& block);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_TASK_VECTORS_H_

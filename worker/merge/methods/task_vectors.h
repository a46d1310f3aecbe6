// Steps that several methods on task vectors (source - base) share.
#ifndef MERGANSER_WORKER_MERGE_METHODS_TASK_VECTORS_H_
#define MERGANSER_WORKER_MERGE_METHODS_TASK_VECTORS_H_

#include "worker/merge/merge_method.h"

namespace merganser {

// x = w * mask(x - base), rescaled by the term's kept_scale: the weighted random task vector of
// DARE. `x` holds the source.
void WeightedMaskedTaskVector(const SourceTerm& term, const MergeBlock& block, float* x);

// out = base + lambda * D / Z. D, the sum of the weighted task vectors, is in `out` already; Z, if
// `normalize`, is the sum of the weights (1 where that is within 1e-8 of 0), else 1.
void AddPlainSum(const TensorTerms& terms, const MergeBlock& block, float* out);

// out = base + lambda * D / Z with TIES' election of signs over the weighted task vectors in
// block.sources: D sums, element by element, those that agree with the sign of their total (+ for a
// total of 0), and Z, if `normalize`, their weights (1 for 0).
void MergeBySign(const TensorTerms& terms, const MergeBlock& block, float* out);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_TASK_VECTORS_H_

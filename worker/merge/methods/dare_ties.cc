#include "worker/merge/methods/dare_ties.h"

#include "worker/merge/methods/task_vectors.h"

namespace merganser {

void DareTies::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  for (size_t s = 0; s < terms.sources.size(); ++s)
    WeightedMaskedTaskVector(terms.sources[s], block, block.sources[s]);
  MergeBySign(terms, block, out);
}

}  // namespace merganser

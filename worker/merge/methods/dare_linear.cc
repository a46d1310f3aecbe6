#include "worker/merge/methods/dare_linear.h"

#include <algorithm>

#include "worker/merge/methods/task_vectors.h"

namespace merganser {

void DareLinear::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  std::fill(out, out + block.count, 0.0f);
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    WeightedMaskedTaskVector(terms.sources[s], block, block.sources[s]);
    AddScaled(block.sources[s], 1.0f, block.count, out);
  }
  AddPlainSum(terms, block, out);
}

}  // namespace merganser

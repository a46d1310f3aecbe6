#include "worker/merge/methods/task_arithmetic.h"

#include <algorithm>

#include "worker/merge/methods/task_vectors.h"

namespace merganser {

void TaskArithmetic::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  std::fill(out, out + block.count, 0.0f);
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    AddScaledDifference(block.sources[s], block.base, terms.sources[s].weight, block.count, out);
  }
  AddPlainSum(terms, block, out);
}

}  // namespace merganser

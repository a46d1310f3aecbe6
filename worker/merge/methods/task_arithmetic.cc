#include "worker/merge/methods/task_arithmetic.h"

#include <algorithm>

namespace merganser {

void TaskArithmetic::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  std::fill(out, out + block.count, 0.0f);
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    AddScaledDifference(block.sources[s], block.base, terms.sources[s].weight, block.count, out);
  }
  AddToBase(block.base, out, terms.lambda, block.count, out);
}

}  // namespace merganser

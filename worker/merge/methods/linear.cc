#include "worker/merge/methods/linear.h"

#include <algorithm>

namespace merganser {

void Linear::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  std::fill(out, out + block.count, 0.0f);
  float total = 0;
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    AddScaled(block.sources[s], terms.sources[s].weight, block.count, out);
    total += terms.sources[s].weight;
  }
  if (terms.normalize) Divide(total, block.count, out);
}

}  // namespace merganser

#include "worker/merge/methods/ties.h"

#include "worker/merge/methods/task_vectors.h"

namespace merganser {

void Ties::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    float* d = block.sources[s];
    Subtract(block.base, block.count, d);
    Trim(terms.sources[s].cut, block.first, block.count, d);
    if (terms.sources[s].kept_scale != 1) Scale(terms.sources[s].kept_scale, block.count, d);
    Scale(terms.sources[s].weight, block.count, d);
  }
  MergeBySign(terms, block, out);
}

}  // namespace merganser

#include "worker/merge/methods/dare_linear.h"

#include <algorithm>
#include <cmath>

#include "worker/merge/methods/task_vectors.h"

namespace merganser {

void DareLinear::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  constexpr float kWeightSumMin = 1e-8f;  // mergekit's bound; below it nothing is divided
  std::fill(out, out + block.count, 0.0f);
  float total = 0;
  for (size_t s = 0; s < terms.sources.size(); ++s) {
    WeightedMaskedTaskVector(terms.sources[s], block, block.sources[s]);
    AddScaled(block.sources[s], 1.0f, block.count, out);
    total += terms.sources[s].weight;
  }
  if (terms.normalize && std::fabs(total) >= kWeightSumMin) Divide(total, block.count, out);
  AddToBase(block.base, out, terms.lambda, block.count, out);
}

}  // namespace merganser

#include "worker/merge/methods/task_vectors.h"

#include <algorithm>
#include <cmath>

namespace merganser {

void WeightedMaskedTaskVector(const SourceTerm& term, const MergeBlock& block, float* x) {
  if (term.mask_rule.kind == MaskRule::Kind::kNone) {
    std::fill(x, x + block.count, 0.0f);
    return;
  }
  Subtract(block.base, block.count, x);
  if (term.mask_rule.kind == MaskRule::Kind::kSome) {
    term.mask.Fill(block.first, block.count, block.words);
    KeepMasked(block.words, term.mask_rule.limit, block.count, x);
    if (term.kept_scale != 1) Scale(term.kept_scale, block.count, x);
  }
  Scale(term.weight, block.count, x);
}

void AddPlainSum(const TensorTerms& terms, const MergeBlock& block, float* out) {
  constexpr float kWeightSumMin = 1e-8f;  // mergekit's bound; below it nothing is divided
  float total = 0;
  for (const SourceTerm& term : terms.sources) total += term.weight;
  if (terms.normalize && std::fabs(total) >= kWeightSumMin) Divide(total, block.count, out);
  AddToBase(block.base, out, terms.lambda, block.count, out);
}

void MergeBySign(const TensorTerms& terms, const MergeBlock& block, float* out) {
  const int sources = static_cast<int>(terms.sources.size());
  float weights[64];  // limits::kModelsMax
  for (int s = 0; s < sources; ++s) weights[s] = terms.sources[s].weight;
  SumAgreeing(block.sources, weights, sources, block.count, out, block.scratch);
  if (terms.normalize) DivideEach(block.scratch, block.count, out);
  AddToBase(block.base, out, terms.lambda, block.count, out);
}

}  // namespace merganser

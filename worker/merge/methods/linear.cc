// linear: a weighted mean of the sources (Wortsman et al., "Model soups", 2022, arXiv:2203.05482).
//   y = sum_i w_i x_i / Z,   Z = sum_i w_i if normalize (the default), else 1.
// Takes no base. Weights may be negative; with normalize their sum must not be 0.
#include <algorithm>

#include "worker/merge/bf16_kernels.h"
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

// out = sum_s weights[s] x[s], / divisor if `divide`.
MG_MULTIVERSION void WeightedMean(const float* const* x, const float* weights, int sources, bool divide, float divisor,
                                  int64_t count, float* __restrict out) {
  constexpr int64_t kTile = 256;  // sums stay in the first-level cache
  for (int64_t at = 0; at < count; at += kTile) {
    const int64_t n = std::min(kTile, count - at);
    float* __restrict sum = out + at;
    for (int64_t i = 0; i < n; ++i) sum[i] = 0;
    for (int s = 0; s < sources; ++s) {
      const float* __restrict own = x[s] + at;
      const float weight = weights[s];
      for (int64_t i = 0; i < n; ++i) sum[i] += weight * own[i];
    }
    if (!divide) continue;
    for (int64_t i = 0; i < n; ++i) sum[i] /= divisor;
  }
}

class Linear final : public MergeMethod {
 public:
  Linear() : MergeMethod("linear") {}
  bool divides_by_weight_sum() const override { return true; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    const SourceWeights weights(terms);
    float total = 0;
    for (const SourceTerm& term : terms.sources) total += term.weight;
    WeightedMean(block.sources, weights.data(), weights.size(), terms.normalize, total, block.count, out);
  }
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override {
    const SourceWeights weights(terms);
    if (weights.size() > kBF16SourcesMax) return std::nullopt;
    float total = 0;
    for (const SourceTerm& term : terms.sources) total += term.weight;
    return WeightedSumBF16(block.sources, weights.data(), weights.size(), terms.normalize, total, block.count, block.out);
  }
};

}  // namespace

const MergeMethod* NewLinear() { return new Linear; }

}  // namespace merganser

// sce: select, calculate, erase (Wan et al., "FuseChat", 2024, arXiv:2408.07990).
//   d_i = x_i - base, 0 outside of the k = int(select_topk nnz) elements (over all with select_topk 1) whose variance across
//         the sources is largest, nnz counting the variances that are not 0; equal ones: the lowest index first;
//   w_i = mean(d_i^2) / sum_j mean(d_j^2) over the tensor, 1 / sources if that sum is below 1e-6;
//   s   = + where sum_i d_i >= 0, else -;   m_i = [sign(d_i) = s];
//   y   = base + sum_i w_i m_i d_i / max(sum_i w_i m_i, 1e-6).
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class Sce final : public MergeMethod {
 public:
  Sce() : MergeMethod("sce") {}
  Statistic statistic() const override { return Statistic::kVarianceCut; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    const int sources = static_cast<int>(terms.sources.size());
    for (int s = 0; s < sources; ++s) Subtract(block.base, block.count, block.sources[s]);
    MaskByVariance(terms.cut, block.sources, sources, block.first, block.count, block.scratch);
    const SourceWeights weights(terms);
    AverageAgreeing(block.sources, weights.data(), weights.size(), block.count, out, block.scratch);
    AddToBase(block.base, out, 1.0f, block.count, out);
  }
};

}  // namespace

const MergeMethod* NewSce() { return new Sce; }

}  // namespace merganser

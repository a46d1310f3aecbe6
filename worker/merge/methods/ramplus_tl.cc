// ramplus_tl: ram with what is a task vector's own amplified by how much it shares ("Reinforced Agent Merging", 2026,
// arXiv:2601.13572; tensor by tensor).
//   d_i = x_i - base;   m_i = [|d_i| > epsilon];   c = sum_i m_i;
//   l_i = 1 + r clamp(shared_i / max(own_i, epsilon), 0, alpha), own_i and shared_i being the numbers of elements of the
//         tensor with m_i = 1 and c = 1, or c > 1;
//   y   = base + sum_i m_i d_i (c = 1 ? l_i : 1 / c).
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class RamplusTl final : public MergeMethod {
 public:
  RamplusTl() : MergeMethod("ramplus_tl") {}
  Statistic statistic() const override { return Statistic::kOverlapCounts; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    const SourceWeights weights(terms);
    SumOwnAndShared(block.base, block.sources, weights.data(), weights.size(),
                    static_cast<float>(terms.settings->Get("epsilon")), block.count, out);
  }
};

}  // namespace

const MergeMethod* NewRamplusTl() { return new RamplusTl; }

}  // namespace merganser

// ram: keeps what is one task vector's own, averages what several share ("Reinforced Agent Merging", 2026,
// arXiv:2601.13572).
//   d_i = x_i - base;   m_i = [|d_i| > epsilon];   c = sum_i m_i;
//   y   = base + sum_i m_i d_i / max(c, 1).
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class Ram final : public MergeMethod {
 public:
  Ram() : MergeMethod("ram") {}
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    const SourceWeights weights(terms);
    SumOwnAndShared(block.base, block.sources, weights.data(), weights.size(),
                    static_cast<float>(terms.settings->Get("epsilon")), block.count, out);
  }
};

}  // namespace

const MergeMethod* NewRam() { return new Ram; }

}  // namespace merganser

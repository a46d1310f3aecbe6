// task_arithmetic: the base plus weighted task vectors (Ilharco et al., "Editing models with task arithmetic", 2023,
// arXiv:2212.04089).
//   y = base + lambda sum_i w_i (x_i - base) / Z,   Z = sum_i w_i if normalize (default off) and |sum_i w_i| >= 1e-8,
//   else 1.
#include <algorithm>

#include "worker/merge/bf16_kernels.h"
#include "worker/merge/methods/all_methods.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

class TaskArithmetic final : public MergeMethod {
 public:
  TaskArithmetic() : MergeMethod("task_arithmetic") {}
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override {
    std::fill(out, out + block.count, 0.0f);
    for (size_t s = 0; s < terms.sources.size(); ++s) {
      AddScaledDifference(block.sources[s], block.base, terms.sources[s].weight, block.count, out);
    }
    AddPlainSum(terms, block, out);
  }
  std::optional<bool> MergeBF16(const TensorTerms& terms, const BF16Block& block) const override {
    const SourceWeights weights(terms);
    if (weights.size() > kBF16SourcesMax) return std::nullopt;
    const std::optional<float> divisor = PlainDivisor(terms);
    return AddTaskVectorsBF16(block.base, block.sources, weights.data(), weights.size(), divisor.has_value(),
                              divisor.value_or(1), terms.lambda, block.count, block.out);
  }
};

}  // namespace

const MergeMethod* NewTaskArithmetic() { return new TaskArithmetic; }

}  // namespace merganser

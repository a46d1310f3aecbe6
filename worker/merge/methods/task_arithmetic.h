// task_arithmetic: the base plus weighted task vectors (Ilharco et al., "Editing models with task
// arithmetic", 2023, arXiv:2212.04089).
//   y = base + lambda sum_i w_i (x_i - base) / Z,   Z = sum_i w_i if normalize (default off) and
//   |sum_i w_i| >= 1e-8, else 1.
#ifndef MERGANSER_WORKER_MERGE_METHODS_TASK_ARITHMETIC_H_
#define MERGANSER_WORKER_MERGE_METHODS_TASK_ARITHMETIC_H_

#include "worker/merge/merge_method.h"

namespace merganser {

class TaskArithmetic final : public MergeMethod {
 public:
  absl::string_view name() const override { return "task_arithmetic"; }
  void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const override;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_METHODS_TASK_ARITHMETIC_H_

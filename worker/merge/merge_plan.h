// A recipe's stack, checked and resolved: what to compute for every tensor of the layout.
#ifndef MERGANSER_WORKER_MERGE_MERGE_PLAN_H_
#define MERGANSER_WORKER_MERGE_MERGE_PLAN_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_settings.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/mergekit/torch_random.h"

namespace merganser {

// Index in stack.settings of the first group that the tensor belongs to, or -1. A tensor of a part
// that recipes do not know belongs to groups without parts and layer bounds.
int GroupOf(const Stack& stack, const TensorRole& role, absl::string_view tensor_name);

// Checks and completes stack.settings[group] by the method's MethodSpec. InvalidArgument naming
// stack, group, parameter, source, value and bound.
absl::StatusOr<MergeSettings> ResolveSettings(const Stack& stack, int group, const MergeMethod& method);

// Cheap to build per candidate; any thread may read it.
class MergePlan {
 public:
  // Resolves `stack` of `recipe`. InvalidArgument (message names the stack, the group and the
  // value): an unknown method or parameter (with the nearest name), an unknown model, one named
  // twice, a base that is missing or not taken, a weight that is not finite, a density outside [0,
  // 1], weights that sum to 0 where they are divided by, a tensor that no group takes, or a dtype
  // other than the layout's. Unimplemented: a recipe with a path.
  static absl::StatusOr<MergePlan> Build(const Recipe& recipe, const Stack& stack,
                                         std::shared_ptr<const MergeSources> sources);

  const std::shared_ptr<const MergeSources>& sources() const { return sources_; }
  // Null: the stack is a plain copy of model(0).
  const MergeMethod* method() const { return method_; }
  // Number of the base in sources(), -1 without.
  int base() const { return base_; }
  // Numbers of the merged models in sources(), in the stack's order.
  const std::vector<int>& models() const { return models_; }
  // Settings of layout().tensors()[tensor]. REQUIRES: method() is not null.
  const MergeSettings& settings(int tensor) const { return settings_[group_of_[tensor]]; }
  // True if any group's settings rescale what they keep by its norm.
  bool rescales() const;
  uint64_t mask_seed() const { return mask_seed_; }
  Arithmetic arithmetic() const { return arithmetic_; }
  // Of Arithmetic::kMergekit: where mergekit's random stream is when it comes to each tensor of the layout. Empty: it begins
  // with these tensors, in the order of their names.
  const std::vector<TorchRandom>& streams() const { return streams_; }
  // REQUIRES: one for each tensor of the layout.
  void set_streams(std::vector<TorchRandom> streams) { streams_ = std::move(streams); }

 private:
  MergePlan() = default;

  std::shared_ptr<const MergeSources> sources_;
  const MergeMethod* method_ = nullptr;
  int base_ = -1;
  std::vector<int> models_;
  std::vector<MergeSettings> settings_;
  std::vector<int> group_of_;
  uint64_t mask_seed_ = 0;
  Arithmetic arithmetic_ = Arithmetic::kFp32;
  std::vector<TorchRandom> streams_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_PLAN_H_

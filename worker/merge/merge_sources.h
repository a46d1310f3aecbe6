// The source models of a job, matched tensor by tensor with the layout of the merged weights.
#ifndef MERGANSER_WORKER_MERGE_MERGE_SOURCES_H_
#define MERGANSER_WORKER_MERGE_MERGE_SOURCES_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/checkpoint/tensor_view.h"
#include "worker/merge/arena.h"
#include "worker/merge/float_blocks.h"

namespace merganser {

// Immutable; any thread. Shared by the materializer and the plans made for it. Models are numbered
// in the order of their names.
class MergeSources {
 public:
  // A model as its tensors. `label` is what messages call it (a directory); `tied_head` says that
  // an lm_head of its own is of no meaning. `owner` keeps the tensors' bytes alive (a Checkpoint,
  // shared with whoever else reads it; may be null).
  struct Model {
    std::string label;
    std::vector<TensorView> tensors;
    bool tied_head = false;
    std::shared_ptr<const void> owner;
  };

  // Every tensor of the layout must be in every model with the layout's shape and a floating-point
  // type, and every tensor of every model in the layout (but for lm_head where the model ties it
  // and the layout has none). InvalidArgument otherwise; the message names the tensor, both models
  // and both shapes. `roles` (null: those of RoleOf) may know the layers of other families; it is only
  // used during the call.
  static absl::StatusOr<std::shared_ptr<const MergeSources>> Create(const std::map<std::string, Model>& models,
                                                                    ArenaLayout layout, const TensorRoles* roles = nullptr);
  static absl::StatusOr<std::shared_ptr<const MergeSources>> Create(
      const std::map<std::string, std::shared_ptr<const Checkpoint>>& checkpoints, ArenaLayout layout);

  const ArenaLayout& layout() const { return layout_; }
  // In order; index = number of the model.
  const std::vector<std::string>& names() const { return names_; }
  // Number of the model called `name`, or -1.
  int IndexOf(absl::string_view name) const;
  // Elements of layout().tensors()[tensor] in that model.
  const FloatTensor& tensor(int model, int tensor) const { return tensors_[model][tensor]; }
  // Role of layout().tensors()[tensor].
  const TensorRole& role(int tensor) const { return roles_[tensor]; }
  // "'ja' (models/ja)".
  std::string Describe(int model) const;

 private:
  explicit MergeSources(ArenaLayout layout) : layout_(std::move(layout)) {}

  ArenaLayout layout_;
  std::vector<std::string> names_;
  std::vector<std::string> labels_;
  std::vector<std::vector<FloatTensor>> tensors_;  // [model][tensor of the layout]
  std::vector<TensorRole> roles_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_SOURCES_H_

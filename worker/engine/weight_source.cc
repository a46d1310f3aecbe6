#include "worker/engine/weight_source.h"

#include <atomic>

#include "absl/strings/str_cat.h"

namespace merganser {

uint64_t NextConstantId() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

absl::StatusOr<WeightView> CheckpointWeights::Find(absl::string_view name) const {
  const TensorView* tensor = checkpoint_->Find(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat("'", checkpoint_->dir(), "' has no tensor '", name, "'"));
  }
  return WeightView{tensor->dtype, tensor->shape, tensor->data.data()};
}

}  // namespace merganser

// The merge's arena as the engine's weights.
#ifndef MERGANSER_WORKER_EVALUATE_ARENA_WEIGHTS_H_
#define MERGANSER_WORKER_EVALUATE_ARENA_WEIGHTS_H_

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/engine/weight_source.h"
#include "worker/merge/arena.h"

namespace merganser {

// What one merge wrote into an arena. A language model within one that sees answers to a plain model's names, too. The arena
// outlives the engine that takes weights from it, and changes only between candidates: the engine may use it in place. Made
// anew after each merge, which gives it another constant_id.
class ArenaWeights : public WeightSource {
 public:
  explicit ArenaWeights(const Arena* arena) : arena_(arena), id_(NextConstantId()) {}

  absl::StatusOr<WeightView> Find(absl::string_view name) const override {
    Arena::View view = arena_->Find(name);
    if (view.data == nullptr) view = arena_->Find(absl::StrCat("language_model.", name));
    if (view.data == nullptr && absl::StartsWith(name, "model.")) {
      view = arena_->Find(absl::StrCat("model.language_model.", name.substr(6)));
    }
    if (view.data == nullptr) return absl::NotFoundError(absl::StrCat("the merge has no tensor '", name, "'"));
    return WeightView{view.dtype, *view.shape, view.data};
  }
  bool may_alias() const override { return true; }
  uint64_t constant_id() const override { return id_; }

 private:
  const Arena* arena_;
  uint64_t id_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_ARENA_WEIGHTS_H_

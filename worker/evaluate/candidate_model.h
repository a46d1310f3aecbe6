// From a recipe to what the engine runs: merged stacks in arenas, plain sources where they are.
#ifndef MERGANSER_WORKER_EVALUATE_CANDIDATE_MODEL_H_
#define MERGANSER_WORKER_EVALUATE_CANDIDATE_MODEL_H_

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/device_merge/merge_traffic.h"
#include "worker/engine/model_runner.h"
#include "worker/evaluate/arena_weights.h"
#include "worker/evaluate/source_models.h"
#include "worker/merge/arena.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_plan.h"

namespace merganser {

class DeviceArena;
class DeviceMerger;

// Holds the weights of the candidate that was made last. A stack that is a checkpoint as it is, of
// the recipe's dtype, is read where it is mapped and never copied; every other stack of the path has
// an arena of its own. Stacks that are the same as the last candidate's are not made again, so a
// search over paths costs no merge. Thread-compatible.
class CandidateModel {
 public:
  // All arguments outlive it. `layout` is that of a merged stack.
  CandidateModel(const CheckpointMap& checkpoints, Materializer& materializer, const ArenaLayout& layout);
  ~CandidateModel();
  CandidateModel(const CandidateModel&) = delete;
  CandidateModel& operator=(const CandidateModel&) = delete;

  // From now on stacks are merged by `merger`, of the same materializer, in its device's memory. REQUIRES: nothing is made
  // yet.
  void MergeOn(std::shared_ptr<DeviceMerger> merger);

  // One more with the same merger, nothing made yet; only one of the two may materialize at a time. What an engine keeps of
  // plain sources serves both.
  std::unique_ptr<CandidateModel> Another() const;

  // What the engine is to load; valid until the next call. The embedding is that of the stack
  // embedding_from, final norm and head those of head_from. InvalidArgument: a stack or layer that
  // the recipe does not have (the message starts with the field), errors of MergePlan::Build and
  // Materializer::Run. Unimplemented, naming the field: what only an export computes (adapters,
  // layer offsets, stacks of stacks, another vocabulary, embedding and head of
  // different stacks where the models tie them).
  absl::StatusOr<ModelWeights> Materialize(const Recipe& recipe, std::stop_token stop);
  // Bytes of stacks that Materialize would make for `recipe`: 0 where it holds them already, or they are sources as they
  // are.
  int64_t BytesToMerge(const Recipe& recipe) const;
  // Of the arenas that it holds.
  int64_t arena_bytes() const;
  // Bytes of weights that the last call made.
  int64_t merged_bytes() const { return merged_bytes_; }
  // Of the last call's merges on a device, together; zeros where the CPU merges.
  const MergeTraffic& traffic() const { return traffic_; }

 private:
  struct MergedStack {
    std::unique_ptr<Arena> arena;  // one of the two
    std::unique_ptr<DeviceArena> device_arena;
    std::unique_ptr<WeightSource> weights;
  };

  using Sources = std::map<std::string, CheckpointWeights>;  // by model name

  CandidateModel(const CheckpointMap& checkpoints, Materializer& materializer, const ArenaLayout& layout,
                 std::shared_ptr<const Sources> sources);

  // Merges a stack anew into its arena, which is made if there is none.
  absl::Status Merge(const MergePlan& plan, MergedStack& merged, const std::stop_token& stop);

  // The checkpoint's own weights if the stack is that checkpoint as it is; else null.
  const CheckpointWeights* PlainSource(const Recipe& recipe, const Stack& stack) const;

  const CheckpointMap& checkpoints_;
  Materializer& materializer_;
  const ArenaLayout& layout_;
  std::shared_ptr<DeviceMerger> merger_;
  const std::shared_ptr<const Sources> sources_;
  std::map<int, MergedStack> merged_;  // by stack
  int64_t merged_bytes_ = 0;
  MergeTraffic traffic_;
  std::optional<Recipe> made_;  // without its path: what merged_ holds
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_CANDIDATE_MODEL_H_

// Of RecipePlan, the part that follows mergekit's one random stream through the tensors of a result.
#include <algorithm>
#include <map>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/mergekit/mergekit_arithmetic.h"
#include "worker/merge/recipe_plan.h"

namespace merganser {

bool RecipePlan::DrawsLikeMergekit(int stack) const {
  const MergeMethod* method = FindMergeMethod(recipe_.stacks[stack].method);
  return recipe_.stacks[stack].arithmetic == Arithmetic::kMergekit && method != nullptr && method->random();
}

absl::Status RecipePlan::PlaceDraws() {
  struct Draw {
    std::string last_source;
    int64_t count;
    std::vector<int> tensors;
  };
  std::vector<Draw> draws;
  std::map<std::pair<int, std::string>, size_t> known;
  for (size_t t = 0; t < tensors_.size(); ++t) {
    const PlannedTensor& tensor = tensors_[t];
    if (!DrawsLikeMergekit(tensor.stack) || !tensor.copied_from.empty() || !IsMergeable(tensor.header.dtype)) continue;
    const auto [it, added] = known.emplace(std::pair(tensor.stack, tensor.stack_tensor), draws.size());
    if (added) {
      const Stack& stack = recipe_.stacks[tensor.stack];
      const int group = GroupOf(stack, stacks_[tensor.stack].roles.Of(tensor.stack_tensor), tensor.stack_tensor);
      MG_ASSIGN_OR_RETURN(const MergeSettings settings, ResolveSettings(stack, group, *FindMergeMethod(stack.method)));
      // mergekit merges a tensor once all models' are loaded, and loads in the order of the models' own names.
      std::string last;
      for (const std::string& source : stacks_[tensor.stack].names) {
        last = std::max(last, SourceTensor(tensor.stack, source, tensor.stack_tensor));
      }
      const int64_t elements = tensor.header.NumBytes() / SizeOf(tensor.header.dtype);
      draws.push_back({std::move(last), DrawsOf(*FindMergeMethod(stack.method), settings, elements), {}});
    }
    draws[it->second].tensors.push_back(static_cast<int>(t));
  }
  std::stable_sort(draws.begin(), draws.end(), [](const Draw& a, const Draw& b) { return a.last_source < b.last_source; });
  draw_of_.assign(tensors_.size(), -1);
  for (const Draw& draw : draws) {
    for (const int t : draw.tensors) draw_of_[t] = static_cast<int>(draws_.size());
    draws_.push_back(draw.count);
  }
  return absl::OkStatus();
}

absl::Status RecipePlan::FillStreams(MergeMemory& memory, const std::stop_token& stop) const {
  if (!memory.streams.empty()) return absl::OkStatus();
  TorchRandom random(recipe_.mask_seed);
  std::vector<TorchRandom> streams;
  for (const int64_t count : draws_) {
    if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
    streams.push_back(random);
    random.Skip(static_cast<uint64_t>(count));
  }
  memory.streams = std::move(streams);
  return absl::OkStatus();
}

}  // namespace merganser

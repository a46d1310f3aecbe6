#include "worker/evaluate/candidate_model.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/device_merge/device_arena.h"
#include "worker/device_merge/device_merger.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"

namespace merganser {
namespace {

// What a recipe may say to `merganser merge`, but what is not computed in memory.
absl::Status CheckComputable(const Recipe& recipe) {
  const auto refuse = [](const std::string& field, absl::string_view what) {
    return absl::UnimplementedError(
        absl::StrCat(field, ": ", what, "; make a checkpoint of it first with `merganser merge`"));
  };
  for (const ModelRef& model : recipe.models) {
    const std::string field = absl::StrCat("models.", model.name);
    if (!model.lora.empty())
      return refuse(field + ".lora", "an evaluation takes checkpoints as they are, without an adapter");
  }
  for (const Stack& stack : recipe.stacks) {
    const std::string field = absl::StrCat("stacks.", stack.name);
    const MergeMethod* method = FindMergeMethod(stack.method);
    const bool draws = stack.arithmetic == Arithmetic::kMergekit && method != nullptr && method->random();
    if (draws && (!recipe.path.empty() || recipe.stacks.size() > 1)) {
      return refuse(
          field + ".arithmetic",
          "mergekit's random stream runs through the tensors of the result, an evaluation's through those of a stack");
    }
    if (!stack.layer_offsets.empty()) {
      return refuse(field + ".layer_offsets", "an evaluation merges layers of one number only");
    }
    std::vector<std::string> names = stack.sources;
    names.push_back(stack.base);
    for (const Stack& other : recipe.stacks) {
      const auto is_model = [&](const ModelRef& model) { return model.name == other.name; };
      if (other.name.empty() || std::find(names.begin(), names.end(), other.name) == names.end()) continue;
      if (std::any_of(recipe.models.begin(), recipe.models.end(), is_model)) continue;
      return refuse(field + ".sources",
                    absl::StrCat("'", other.name, "' is a stack, and an evaluation merges checkpoints only"));
    }
  }
  if (recipe.tokenizer != TokenizerSpec{}) {
    return refuse("tokenizer", "an evaluation cannot change the vocabulary");
  }
  return absl::OkStatus();
}

absl::Status CheckPath(const Recipe& recipe) {
  if (recipe.stacks.empty()) return absl::InvalidArgumentError("stacks: the recipe has none");
  for (size_t i = 0; i < recipe.path.size(); ++i) {
    const int stack = recipe.path[i].stack;
    if (stack < 0 || stack >= static_cast<int>(recipe.stacks.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("path[", i, "].stack: ", stack, " is not in [0, ", recipe.stacks.size() - 1, "]"));
    }
  }
  return absl::OkStatus();
}

// The number of the stack by that name; "": the first.
absl::StatusOr<int> StackOf(const Recipe& recipe, const std::string& name, absl::string_view field) {
  if (name.empty()) return 0;
  for (size_t i = 0; i < recipe.stacks.size(); ++i) {
    if (recipe.stacks[i].name == name) return static_cast<int>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat(field, ": the recipe has no stack '", name, "'"));
}

}  // namespace

CandidateModel::CandidateModel(const CheckpointMap& checkpoints, Materializer& materializer, const ArenaLayout& layout)
    : CandidateModel(checkpoints, materializer, layout,
                     std::make_shared<const Sources>(checkpoints.begin(), checkpoints.end())) {}

CandidateModel::CandidateModel(const CheckpointMap& checkpoints, Materializer& materializer, const ArenaLayout& layout,
                               std::shared_ptr<const Sources> sources)
    : checkpoints_(checkpoints), materializer_(materializer), layout_(layout), sources_(std::move(sources)) {}

CandidateModel::~CandidateModel() = default;

void CandidateModel::MergeOn(std::shared_ptr<DeviceMerger> merger) { merger_ = std::move(merger); }

std::unique_ptr<CandidateModel> CandidateModel::Another() const {
  std::unique_ptr<CandidateModel> another(new CandidateModel(checkpoints_, materializer_, layout_, sources_));
  another->merger_ = merger_;
  return another;
}

int64_t CandidateModel::BytesToMerge(const Recipe& recipe) const {
  Recipe stacks_only = recipe;
  stacks_only.path.clear();
  if (made_ == stacks_only) return 0;
  const auto merges = std::count_if(recipe.stacks.begin(), recipe.stacks.end(),
                                    [&](const Stack& stack) { return PlainSource(recipe, stack) == nullptr; });
  return static_cast<int64_t>(merges) * layout_.TotalBytes();
}

int64_t CandidateModel::arena_bytes() const {
  // One that could not be made has its place in merged_ all the same.
  const auto made = std::count_if(merged_.begin(), merged_.end(), [](const auto& entry) {
    return entry.second.arena != nullptr || entry.second.device_arena != nullptr;
  });
  return static_cast<int64_t>(made) * layout_.TotalBytes();
}

const CheckpointWeights* CandidateModel::PlainSource(const Recipe& recipe, const Stack& stack) const {
  if (!stack.method.empty() || stack.sources.size() != 1) return nullptr;
  const auto it = checkpoints_.find(stack.sources.front());
  if (it == checkpoints_.end()) return nullptr;
  const absl::StatusOr<DType> dtype = ParseConfigDType(recipe.dtype);
  for (const ArenaTensor& tensor : layout_.tensors()) {
    const TensorView* view = it->second->Find(tensor.name);
    if (view == nullptr || !dtype.ok() || view->dtype != *dtype || view->shape != tensor.shape) {
      return nullptr;
    }
  }
  return &sources_->at(it->first);
}

absl::Status CandidateModel::Merge(const MergePlan& plan, MergedStack& merged, const std::stop_token& stop) {
  merged.weights.reset();
  merged_bytes_ += layout_.TotalBytes();
  if (merger_ == nullptr) {
    if (merged.arena == nullptr) {
      MG_ASSIGN_OR_RETURN(merged.arena, Arena::Create(layout_));
    }
    MG_RETURN_IF_ERROR(materializer_.Run(plan, *merged.arena, stop));
    merged.weights = std::make_unique<ArenaWeights>(merged.arena.get());
    return absl::OkStatus();
  }
  if (merged.device_arena == nullptr) {
    MG_ASSIGN_OR_RETURN(merged.device_arena, DeviceArena::Create(layout_, merger_->device()));
  }
  MG_RETURN_IF_ERROR(merger_->Run(plan, *merged.device_arena, stop));
  traffic_.needed += merger_->traffic().needed;
  traffic_.host_to_device += merger_->traffic().host_to_device;
  merged.weights = std::make_unique<DeviceArenaWeights>(merged.device_arena.get());
  return absl::OkStatus();
}

absl::StatusOr<ModelWeights> CandidateModel::Materialize(const Recipe& recipe, std::stop_token stop) {
  merged_bytes_ = 0;
  traffic_ = {};
  MG_RETURN_IF_ERROR(CheckPath(recipe));
  MG_RETURN_IF_ERROR(CheckComputable(recipe));
  MG_ASSIGN_OR_RETURN(const int embedding, StackOf(recipe, recipe.embedding_from, "embedding_from"));
  MG_ASSIGN_OR_RETURN(const int head, StackOf(recipe, recipe.head_from, "head_from"));
  const auto is_head = [](const ArenaTensor& tensor) { return RoleOf(tensor.name).part == ModelPart::kHead; };
  if (embedding != head && std::none_of(layout_.tensors().begin(), layout_.tensors().end(), is_head)) {
    return absl::UnimplementedError(absl::StrCat(
        "head_from: the models' heads are tied to their embeddings, so an evaluation takes both from one stack; "
        "embedding_from is '",
        recipe.stacks[embedding].name, "', head_from '", recipe.stacks[head].name, "'"));
  }
  std::set<int> used{embedding, head};
  if (recipe.path.empty()) used.insert(0);
  for (const Hop& hop : recipe.path) used.insert(hop.stack);
  Recipe stacks_only = recipe;
  stacks_only.path.clear();
  const bool same = made_ == stacks_only;
  made_.reset();  // until all of it is made
  if (!same) {
    // Arenas of stacks that are gone make room; the others are written over.
    for (auto it = merged_.begin(); it != merged_.end();) {
      it = used.count(it->first) > 0 ? std::next(it) : merged_.erase(it);
    }
  }

  ModelWeights model;
  std::map<int, int> place;  // of a stack among model.stacks
  for (const int index : used) {
    const Stack& stack = recipe.stacks[index];
    place[index] = static_cast<int>(model.stacks.size());
    if (const CheckpointWeights* source = PlainSource(recipe, stack)) {
      const ModelConfig& config = checkpoints_.at(stack.sources.front())->config();
      model.stacks.push_back({source, static_cast<int>(config.num_layers)});
      continue;
    }
    MergedStack& merged = merged_[index];
    if (!same || merged.weights == nullptr) {
      MG_ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Build(stacks_only, stack, materializer_.sources()));
      MG_RETURN_IF_ERROR(Merge(plan, merged, stop));
    }
    model.stacks.push_back({merged.weights.get()});
  }
  for (const Hop& hop : recipe.path) {
    model.path.push_back({hop.layer, static_cast<float>(hop.scale), place.at(hop.stack)});
  }
  model.embedding_stack = place.at(embedding);
  model.head_stack = place.at(head);
  made_ = std::move(stacks_only);
  return model;
}

}  // namespace merganser

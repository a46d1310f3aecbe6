#include "worker/merge/recipe_plan.h"

#include <sys/mman.h>

#include <algorithm>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/architectures.h"
#include "worker/merge/arena.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/name_filter.h"

namespace merganser {
namespace {

// Addresses that nobody may read: what the headers-only check of a plan takes for tensors' bytes.
class UnreadableBytes {
 public:
  static absl::StatusOr<UnreadableBytes> Create(int64_t size) {
    const size_t bytes = static_cast<size_t>(std::max<int64_t>(size, 1));
    void* mapping = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) return absl::ResourceExhaustedError(absl::StrCat("no ", bytes, " bytes of address space"));
    return UnreadableBytes(mapping, bytes);
  }
  UnreadableBytes(UnreadableBytes&& other) noexcept
      : mapping_(std::exchange(other.mapping_, nullptr)), bytes_(other.bytes_) {}
  UnreadableBytes& operator=(UnreadableBytes&&) = delete;
  ~UnreadableBytes() {
    if (mapping_ != nullptr) munmap(mapping_, bytes_);
  }

  absl::Span<const std::byte> First(int64_t size) const {
    return {static_cast<const std::byte*>(mapping_), static_cast<size_t>(size)};
  }

 private:
  UnreadableBytes(void* mapping, size_t bytes) : mapping_(mapping), bytes_(bytes) {}
  void* mapping_;
  size_t bytes_;
};

absl::Status CheckFilters(const Recipe& recipe, const SourceMap& models) {
  std::vector<std::string> names;
  for (const auto& [model, source] : models) {
    for (const TensorHeader& header : source->headers()) names.push_back(header.name);
  }
  for (const Stack& stack : recipe.stacks) {
    for (const GroupSettings& settings : stack.settings) {
      const absl::Status found = CheckFilter(settings.group.filter, names);
      if (!found.ok()) {
        return Annotate(found, absl::StrCat("stack '", stack.name, "', group '", settings.group.name, "'"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const RecipePlan>> RecipePlan::Build(const Recipe& recipe, const SourceMap& models,
                                                                    const RecipePlanOptions& options,
                                                                    const std::vector<std::string>& mlp_output,
                                                                    bool norm_plus_one) {
  std::unique_ptr<RecipePlan> plan(new RecipePlan);
  plan->recipe_ = recipe;
  plan->options_ = options;
  plan->AddWholeModel();
  if (!options.vision_only) MG_RETURN_IF_ERROR(CheckFilters(recipe, models));
  MG_RETURN_IF_ERROR(plan->ResolveStacks(models));
  MG_RETURN_IF_ERROR(plan->PlacePath());
  MG_RETURN_IF_ERROR(plan->PlanTensors(mlp_output, norm_plus_one));
  MG_RETURN_IF_ERROR(plan->CheckStacks());
  MG_RETURN_IF_ERROR(plan->PlaceDraws());
  plan->MakeBatches();
  return std::unique_ptr<const RecipePlan>(std::move(plan));
}

bool RecipePlan::OfParts(int stack) const {
  std::vector<std::string> names = recipe_.stacks[stack].sources;
  if (!recipe_.stacks[stack].base.empty()) names.push_back(recipe_.stacks[stack].base);
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    for (const ModelRef& model : recipe_.models) {
      if (model.name == name) return !model.rename.empty();
    }
    for (int earlier = 0; earlier < stack; ++earlier) {
      if (recipe_.stacks[earlier].name == name) return OfParts(earlier);
    }
    return false;
  });
}

void RecipePlan::AddWholeModel() {
  const absl::StatusOr<int> embedding = recipe_.stacks.empty() ? -1 : StackNamed(recipe_.embedding_from, "embedding_from");
  if (!embedding.ok() || *embedding < 0 || !OfParts(*embedding)) return;
  for (const ModelRef& model : recipe_.models) {
    if (model.name != recipe_.tokenizer_from || !model.rename.empty()) continue;
    // A stack of a model's name is a copy of it.
    const auto is_copy = [&](const Stack& stack) { return stack.name == model.name; };
    const auto copy = std::find_if(recipe_.stacks.begin(), recipe_.stacks.end(), is_copy);
    whole_model_ = static_cast<int>(copy - recipe_.stacks.begin());
    if (copy == recipe_.stacks.end()) recipe_.stacks.push_back({.name = model.name, .sources = {model.name}});
    return;
  }
}

absl::Status RecipePlan::ResolveStacks(const SourceMap& models) {
  if (recipe_.stacks.empty()) return absl::InvalidArgumentError("stacks: the recipe has none");
  std::set<std::string> names;
  for (size_t s = 0; s < recipe_.stacks.size(); ++s) {
    const Stack& stack = recipe_.stacks[s];
    const std::string where = absl::StrCat("stack '", stack.name, "'");
    // A copy may bear its model's name; nothing else may, since sources are found by name.
    const bool copy_of_its_name = stack.method.empty() && stack.sources.size() == 1 && stack.sources[0] == stack.name;
    if (!names.insert(stack.name).second || (models.count(stack.name) > 0 && !copy_of_its_name)) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": another stack or model has this name"));
    }
    if (stack.sources.empty()) return absl::InvalidArgumentError(absl::StrCat(where, ": no sources"));
    if (stack.method.empty() && (stack.sources.size() != 1 || !stack.base.empty())) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": without a method it is a copy of one source; name a method to merge several"));
    }
    StackSources resolved;
    resolved.names = stack.sources;
    if (!stack.base.empty()) resolved.names.push_back(stack.base);
    for (const std::string& name : resolved.names) {
      if (const auto model = models.find(name); model != models.end()) {
        resolved.by_name[name] = model->second;
        continue;
      }
      int nested = -1;
      for (size_t earlier = 0; earlier < s; ++earlier) {
        if (recipe_.stacks[earlier].name == name) nested = static_cast<int>(earlier);
      }
      if (nested < 0) {
        std::vector<std::string> known;
        for (const auto& [model, source] : models) known.push_back(model);
        for (size_t earlier = 0; earlier < s; ++earlier) known.push_back(recipe_.stacks[earlier].name);
        return absl::InvalidArgumentError(
            absl::StrCat(where, ": no model or earlier stack '", name, "'", DidYouMean(name, known)));
      }
      if (DrawsLikeMergekit(nested)) {
        return absl::InvalidArgumentError(
            absl::StrCat(where, ": '", name,
                         "' draws masks by mergekit's arithmetic, whose random stream runs through the tensors of the ",
                         "result; as part of another merge it cannot: leave its `arithmetic` out"));
      }
      resolved.by_name[name] = NestedSource(nested);
    }
    for (const auto& [name, offset] : stack.layer_offsets) {
      if (resolved.by_name.count(name) == 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(where, ": layer_offsets: no source '", name, "'", DidYouMean(name, resolved.names)));
      }
    }
    stacks_.push_back(std::move(resolved));
    std::vector<std::string> tensors;
    for (const TensorHeader& header : stacks_.back().by_name.at(stack.sources[0])->headers()) tensors.push_back(header.name);
    stacks_.back().roles = TensorRoles::Infer(tensors);
    stacks_.back().layers = stacks_.back().roles.Layers(TensorNames(static_cast<int>(s)));
  }
  return absl::OkStatus();
}

std::string RecipePlan::SourceTensor(int stack, const std::string& source, const std::string& tensor) const {
  const auto offset = recipe_.stacks[stack].layer_offsets.find(source);
  if (offset == recipe_.stacks[stack].layer_offsets.end()) return tensor;
  const TensorRole role = stacks_[stack].roles.Of(tensor);
  return WithLayer(tensor, role, role.layer + offset->second);
}

bool RecipePlan::LiesOutside(const std::string& source, const std::string& tensor) const {
  for (const ModelRef& model : recipe_.models) {
    if (model.name != source || model.rename.empty()) continue;
    return std::none_of(model.rename.begin(), model.rename.end(),
                        [&](const auto& rule) { return absl::StartsWith(tensor, rule.second); });
  }
  return false;
}

std::vector<std::string> RecipePlan::TensorNames(int stack) const {
  const StackSources& sources = stacks_[stack];
  std::set<std::string> names;
  for (const auto& [name, source] : sources.by_name) {
    const auto found = recipe_.stacks[stack].layer_offsets.find(name);
    const int offset = found == recipe_.stacks[stack].layer_offsets.end() ? 0 : found->second;
    for (const TensorHeader& header : source->headers()) {
      const TensorRole role = sources.roles.Of(header.name);
      if (role.part == ModelPart::kLayers && role.layer < offset) continue;
      names.insert(offset == 0 ? header.name : WithLayer(header.name, role, role.layer - offset));
    }
  }
  return {names.begin(), names.end()};
}

std::shared_ptr<const TensorSource> RecipePlan::NestedSource(int stack) const {
  const Stack& nested = recipe_.stacks[stack];
  if (nested.method.empty() && nested.layer_offsets.empty()) return stacks_[stack].by_name.at(nested.sources[0]);
  auto source = std::make_shared<DerivedSource>(nullptr, absl::StrCat("stack '", nested.name, "'"));
  for (const std::string& tensor : TensorNames(stack)) {
    const std::string& first = nested.sources[0];
    const TensorHeader* header = stacks_[stack].by_name.at(first)->Find(SourceTensor(stack, first, tensor));
    if (header == nullptr) continue;  // refused when it is planned
    TensorHeader out{tensor, IsMergeable(header->dtype) ? DType::kF32 : header->dtype, header->shape};
    source->Replace(
        out,
        [this, stack, out]() -> absl::StatusOr<LoadedTensor> {
          if (!IsMergeable(out.dtype)) return LoadInteger(stack, out.name);
          MergeMemory memory(options_.threads);
          MG_ASSIGN_OR_RETURN(Result result, MergeTensors(stack, {out.name}, {}, DType::kF32, memory, {}));
          return LoadedTensor{{out.name, DType::kF32, out.shape, result.bytes[0]}, result.owners[0]};
        },
        out.NumBytes());
  }
  return source;
}

absl::StatusOr<int> RecipePlan::StackNamed(const std::string& name, const std::string& field) const {
  if (name.empty()) return 0;
  std::vector<std::string> known;
  for (size_t s = 0; s < recipe_.stacks.size(); ++s) {
    if (recipe_.stacks[s].name == name) return static_cast<int>(s);
    known.push_back(recipe_.stacks[s].name);
  }
  return absl::InvalidArgumentError(absl::StrCat(field, ": no stack '", name, "'", DidYouMean(name, known)));
}

absl::Status RecipePlan::PlacePath() {
  std::vector<Hop> path = recipe_.path;
  if (path.empty()) {
    for (int layer = 0; layer < stacks_[0].layers; ++layer) path.push_back({0, layer, 1.0});
  }
  std::map<std::pair<int, int>, int> placed;
  for (size_t i = 0; i < path.size(); ++i) {
    const Hop& hop = path[i];
    const std::string where = absl::StrCat("path[", i, "]");
    if (hop.stack < 0 || hop.stack >= static_cast<int>(stacks_.size())) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": stack ", hop.stack, "; the recipe has ", stacks_.size()));
    }
    if (hop.layer < 0 || hop.layer >= stacks_[hop.stack].layers) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": layer ", hop.layer, " of stack '",
                                                     recipe_.stacks[hop.stack].name, "', which has ",
                                                     stacks_[hop.stack].layers, " layers"));
    }
    int out = static_cast<int>(i);
    if (options_.distinct_layers) {
      out = placed.emplace(std::pair(hop.stack, hop.layer), static_cast<int>(placed.size())).first->second;
    }
    hops_.push_back({hop.stack, hop.layer, out, hop.scale});
    layers_ = std::max(layers_, out + 1);
  }
  return absl::OkStatus();
}

absl::Status RecipePlan::AddTensor(int stack, const std::string& stack_tensor, const std::string& name, Rescale rescale) {
  MG_ASSIGN_OR_RETURN(const DType merged_type, ParseConfigDType(recipe_.dtype));
  const StackSources& sources = stacks_[stack];
  const TensorHeader* first = nullptr;
  std::string first_name;
  int64_t read_bytes = 0;
  std::vector<std::string> holders;
  for (const std::string& source : sources.names) {
    const std::string own = SourceTensor(stack, source, stack_tensor);
    const TensorSource& model = *sources.by_name.at(source);
    const TensorHeader* header = model.Find(own);
    if (header == nullptr && LiesOutside(source, own)) continue;
    if (header == nullptr) {
      std::string holder = first_name;
      for (const auto& [other, candidate] : sources.by_name) {
        if (holder.empty() && candidate->Find(SourceTensor(stack, other, stack_tensor)) != nullptr) holder = other;
      }
      return absl::InvalidArgumentError(absl::StrCat("stack '", recipe_.stacks[stack].name, "': tensor '", Printable(own),
                                                     "' is not in '", source, "' (", model.label(), "), but in '", holder,
                                                     "'"));
    }
    if (first == nullptr) {
      first = header;
      first_name = source;
    }
    if (header->shape != first->shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", own, "' has shape ", ShapeText(header->shape), " in '", source, "' (", model.label(), ") but ",
          ShapeText(first->shape), " in '", first_name, "' (", sources.by_name.at(first_name)->label(), ")"));
    }
    if (IsMergeable(header->dtype) != IsMergeable(first->dtype) ||
        (!IsMergeable(header->dtype) && header->dtype != first->dtype)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", own, "' has type ", Name(header->dtype), " in '", source,
                                                     "' but ", Name(first->dtype), " in '", first_name, "'"));
    }
    if (IsFloatingPoint(header->dtype) && !IsMergeable(header->dtype)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", own, "' of '", source, "' (", model.label(), ") has type ",
                                                     Name(header->dtype), "; only F64, F32, F16 and BF16 can be merged"));
    }
    read_bytes += header->NumBytes();
    holders.push_back(source);
  }
  const bool partly = holders.size() < sources.names.size();
  const bool merges = IsMergeable(first->dtype);
  if (!merges && rescale != Rescale{}) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", name, "' has type ", Name(first->dtype), " and cannot be scaled"));
  }
  const bool copied = partly && holders.size() == 1;
  PlannedTensor tensor{{name, merges ? merged_type : first->dtype, first->shape},
                       stack,
                       stack_tensor,
                       rescale,
                       copied ? first_name : "",
                       read_bytes};
  if (partly && !copied) {
    MG_ASSIGN_OR_RETURN(tensor.stack, StackOfWholes(stack, stack_tensor, holders));
  }
  tensors_.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::StatusOr<int> RecipePlan::StackOfWholes(int stack, const std::string& tensor,
                                              const std::vector<std::string>& holders) {
  const Stack& whole = recipe_.stacks[stack];
  const std::string name = absl::StrCat(whole.name, ", of ", absl::StrJoin(holders, " and "));
  for (size_t s = stacks_.size(); s-- > 0;) {
    if (recipe_.stacks[s].name == name) return static_cast<int>(s);
  }
  const auto holds = [&](const std::string& source) {
    return std::find(holders.begin(), holders.end(), source) != holders.end();
  };
  if (!whole.base.empty() && !holds(whole.base)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "stack '", whole.name, "': tensor '", Printable(tensor), "' is in '", absl::StrJoin(holders, "', '"),
        "' and not in the base '", whole.base,
        "', a part of a model: only one of these may have it (models.NAME.rename that names the language model leaves ",
        "out what sees), or the base must"));
  }
  Stack reduced = whole;
  reduced.name = name;
  reduced.sources.clear();
  for (GroupSettings& settings : reduced.settings) settings.source_parameters.clear();
  for (size_t i = 0; i < whole.sources.size(); ++i) {
    if (!holds(whole.sources[i])) continue;
    reduced.sources.push_back(whole.sources[i]);
    for (size_t g = 0; g < whole.settings.size(); ++g) {
      const auto& given = whole.settings[g].source_parameters;
      if (i < given.size()) reduced.settings[g].source_parameters.push_back(given[i]);
    }
  }
  StackSources sources;
  sources.names = holders;
  for (const std::string& source : holders) sources.by_name[source] = stacks_[stack].by_name.at(source);
  sources.roles = stacks_[stack].roles;
  sources.layers = stacks_[stack].layers;
  recipe_.stacks.push_back(std::move(reduced));
  stacks_.push_back(std::move(sources));
  return static_cast<int>(stacks_.size()) - 1;
}

absl::Status RecipePlan::PlanTensors(const std::vector<std::string>& mlp_output, bool norm_plus_one) {
  MG_ASSIGN_OR_RETURN(const int embedding, StackNamed(recipe_.embedding_from, "embedding_from"));
  MG_ASSIGN_OR_RETURN(const int head, StackNamed(recipe_.head_from, "head_from"));
  const auto add_part = [&](int stack, std::optional<ModelPart> part, Rescale rescale) -> absl::Status {
    for (const std::string& name : TensorNames(stack)) {
      if (stacks_[stack].roles.Of(name).part != part) continue;
      MG_RETURN_IF_ERROR(AddTensor(stack, name, name, rescale));
    }
    return absl::OkStatus();
  };
  const auto add_vision = [&]() -> absl::Status {
    MG_RETURN_IF_ERROR(add_part(embedding, std::nullopt, {}));
    if (whole_model_ < 0) return absl::OkStatus();
    const std::vector<std::string> own = TensorNames(embedding);  // of parts: a projector, for instance
    for (const std::string& name : TensorNames(whole_model_)) {
      if (stacks_[whole_model_].roles.Of(name).part || std::binary_search(own.begin(), own.end(), name)) continue;
      MG_RETURN_IF_ERROR(AddTensor(whole_model_, name, name, {}));
    }
    return absl::OkStatus();
  };
  if (options_.vision_only) return add_vision();
  const bool folds = !options_.distinct_layers;
  Rescale of_embedding;
  if (folds && !hops_.empty()) of_embedding.scale = static_cast<float>(hops_[0].scale);
  if (of_embedding != Rescale{}) {
    const std::vector<std::string> names = TensorNames(head);
    if (std::none_of(names.begin(), names.end(),
                     [&](const std::string& n) { return stacks_[head].roles.Of(n).part == ModelPart::kHead; })) {
      return absl::UnimplementedError(
          "path[0].scale: the head is tied to the embedding, which a scale would change; write `head: untied`");
    }
  }
  MG_RETURN_IF_ERROR(add_part(embedding, ModelPart::kEmbedding, of_embedding));
  std::set<int> written;
  for (size_t i = 0; i < hops_.size(); ++i) {
    const PlacedHop& hop = hops_[i];
    if (!written.insert(hop.out).second) continue;
    const double scale = folds && i + 1 < hops_.size() ? hops_[i + 1].scale : 1.0;
    bool folded = scale == 1.0;
    for (const std::string& name : TensorNames(hop.stack)) {
      const TensorRole role = stacks_[hop.stack].roles.Of(name);
      if (role.part != ModelPart::kLayers || role.layer != hop.layer) continue;
      Rescale rescale;
      const auto is_output = [&](const std::string& pattern) { return MatchesPattern(InLayer(name, role.layer), pattern); };
      if (scale != 1.0 && std::any_of(mlp_output.begin(), mlp_output.end(), is_output)) {
        rescale.scale = static_cast<float>(scale);
        if (norm_plus_one) rescale.shift = static_cast<float>(scale - 1);  // (1 + w) s = 1 + (w s + s - 1)
        folded = true;
      }
      MG_RETURN_IF_ERROR(AddTensor(hop.stack, name, WithLayer(name, role, hop.out), rescale));
    }
    if (!folded) {
      return absl::InvalidArgumentError(absl::StrCat("path[", i + 1, "].scale: ", scale, " cannot be folded into layer ",
                                                     hop.layer, " of stack '", recipe_.stacks[hop.stack].name,
                                                     "': the last operation of its MLP is not known for this architecture"));
    }
  }
  MG_RETURN_IF_ERROR(add_part(head, ModelPart::kNorm, {}));
  MG_RETURN_IF_ERROR(add_part(head, ModelPart::kHead, {}));
  MG_RETURN_IF_ERROR(add_vision());
  if (tensors_.empty()) return absl::InvalidArgumentError("the recipe gives no tensor");
  return absl::OkStatus();
}

absl::Status RecipePlan::CheckStacks() const {
  std::vector<std::set<std::string>> wanted(stacks_.size());
  for (const PlannedTensor& tensor : tensors_) {
    if (tensor.copied_from.empty()) wanted[tensor.stack].insert(tensor.stack_tensor);
  }
  int64_t largest = 1;
  for (const StackSources& stack : stacks_) {
    for (const auto& [name, source] : stack.by_name) {
      for (const TensorHeader& header : source->headers()) largest = std::max(largest, header.NumBytes());
    }
  }
  MG_ASSIGN_OR_RETURN(const UnreadableBytes bytes, UnreadableBytes::Create(largest));
  MG_ASSIGN_OR_RETURN(const DType dtype, ParseConfigDType(recipe_.dtype));
  Recipe pathless = recipe_;
  pathless.path.clear();
  for (int s = static_cast<int>(stacks_.size()) - 1; s >= 0; --s) {
    const Stack& stack = recipe_.stacks[s];
    for (const std::string& source : stacks_[s].names) {
      for (int nested = 0; nested < s; ++nested) {
        if (recipe_.stacks[nested].name != source || recipe_.stacks[nested].method.empty()) continue;
        for (const std::string& tensor : wanted[s]) wanted[nested].insert(SourceTensor(s, source, tensor));
      }
    }
    if (stack.method.empty()) continue;
    std::vector<ArenaTensor> layout;
    std::map<std::string, MergeSources::Model> models;
    for (const std::string& tensor : wanted[s]) {
      bool merges = true;
      for (const std::string& source : stacks_[s].names) {
        const TensorSource& model = *stacks_[s].by_name.at(source);
        const TensorHeader* header = model.Find(SourceTensor(s, source, tensor));
        if (header == nullptr) {
          return absl::InvalidArgumentError(absl::StrCat("stack '", stack.name, "': tensor '", Printable(tensor),
                                                         "' is not in '", source, "' (", model.label(), ")"));
        }
        merges = IsMergeable(header->dtype);
        if (!merges) break;
        models[source].label = model.label();
        models[source].tensors.push_back({tensor, header->dtype, header->shape, bytes.First(header->NumBytes())});
      }
      if (merges) layout.push_back({tensor, models.begin()->second.tensors.back().shape, dtype});
    }
    if (layout.empty()) continue;
    MG_ASSIGN_OR_RETURN(ArenaLayout arena, ArenaLayout::Create(std::move(layout)));
    MG_ASSIGN_OR_RETURN(auto sources, MergeSources::Create(models, std::move(arena), &stacks_[s].roles));
    MG_RETURN_IF_ERROR(MergePlan::Build(pathless, stack, std::move(sources)).status());
  }
  return absl::OkStatus();
}

}  // namespace merganser

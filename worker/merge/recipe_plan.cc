#include "worker/merge/recipe_plan.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/clock.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/architectures.h"
#include "worker/merge/arena.h"
#include "worker/merge/float_blocks.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/thread_pool.h"

namespace merganser {
namespace {

constexpr int64_t kChunkElements = 65536;

// Addresses that nobody may read: what the headers-only check of a plan takes for tensors' bytes.
class UnreadableBytes {
 public:
  static absl::StatusOr<UnreadableBytes> Create(int64_t size) {
    const size_t bytes = static_cast<size_t>(std::max<int64_t>(size, 1));
    void* mapping = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
      return absl::ResourceExhaustedError(absl::StrCat("no ", bytes, " bytes of address space"));
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

// `view` as `dtype`, rescaled. False if a value is not finite.
bool Convert(const TensorView& view, DType dtype, Rescale rescale, ThreadPool& pool, std::byte* out) {
  const FloatTensor from{view.dtype, view.data.data(), view.NumElements()};
  std::atomic<bool> finite = true;
  pool.For((from.count + kChunkElements - 1) / kChunkElements, [&](int, int64_t chunk) {
    std::vector<float> values(kChunkElements);
    const int64_t first = chunk * kChunkElements, n = std::min(kChunkElements, from.count - first);
    LoadBlock(from, first, n, values.data());
    if (rescale != Rescale{}) {
      for (int64_t i = 0; i < n; ++i) values[i] = values[i] * rescale.scale + rescale.shift;
    }
    if (!StoreBlock(dtype, values.data(), n, out + first * SizeOf(dtype))) finite = false;
  });
  return finite;
}

// Index of the first value of `view` that is not finite, or -1.
int64_t FindNonFinite(const TensorView& view, ThreadPool& pool) {
  const FloatTensor tensor{view.dtype, view.data.data(), view.NumElements()};
  std::atomic<int64_t> first_bad = INT64_MAX;
  pool.For((tensor.count + kChunkElements - 1) / kChunkElements, [&](int, int64_t chunk) {
    const int64_t first = chunk * kChunkElements;
    const int64_t bad = FirstNonFinite(tensor, first, std::min(kChunkElements, tensor.count - first));
    int64_t seen = first_bad;
    while (bad >= 0 && bad < seen && !first_bad.compare_exchange_weak(seen, bad)) {
    }
  });
  return first_bad == INT64_MAX ? -1 : first_bad.load();
}

// What follows the layer's number in a name.
absl::string_view InLayer(absl::string_view name, int layer) {
  const std::string number = absl::StrCat(".", layer, ".");
  const size_t at = name.find(number);
  return at == absl::string_view::npos ? name : name.substr(at + number.size());
}

}  // namespace

absl::StatusOr<std::unique_ptr<const RecipePlan>> RecipePlan::Build(
    const Recipe& recipe, const SourceMap& models, const RecipePlanOptions& options,
    const std::vector<std::string>& mlp_output, bool norm_plus_one) {
  std::unique_ptr<RecipePlan> plan(new RecipePlan);
  plan->recipe_ = recipe;
  plan->options_ = options;
  MG_RETURN_IF_ERROR(plan->ResolveStacks(models));
  MG_RETURN_IF_ERROR(plan->PlacePath());
  MG_RETURN_IF_ERROR(plan->PlanTensors(mlp_output, norm_plus_one));
  MG_RETURN_IF_ERROR(plan->CheckStacks());
  plan->MakeBatches();
  return std::unique_ptr<const RecipePlan>(std::move(plan));
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
    source->Replace(out, [this, stack, out]() -> absl::StatusOr<LoadedTensor> {
      if (!IsMergeable(out.dtype)) return LoadInteger(stack, out.name);
      MG_ASSIGN_OR_RETURN(Result result, MergeTensors(stack, {out.name}, DType::kF32, {}));
      return LoadedTensor{{out.name, DType::kF32, out.shape, result.bytes[0]}, result.owners[0]};
    }, out.NumBytes());
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

absl::Status RecipePlan::AddTensor(int stack, const std::string& stack_tensor, const std::string& name,
                                   Rescale rescale) {
  MG_ASSIGN_OR_RETURN(const DType merged_type, ParseConfigDType(recipe_.dtype));
  const StackSources& sources = stacks_[stack];
  const TensorHeader* first = nullptr;
  std::string first_name;
  int64_t read_bytes = 0;
  int holders = 0;
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
      return absl::InvalidArgumentError(absl::StrCat("tensor '", own, "' has shape ", ShapeText(header->shape), " in '",
                                                     source, "' (", model.label(), ") but ", ShapeText(first->shape),
                                                     " in '", first_name, "' (", sources.by_name.at(first_name)->label(), ")"));
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
    ++holders;
  }
  const bool partly = holders < static_cast<int>(sources.names.size());
  if (partly && holders != 1) {
    return absl::InvalidArgumentError(absl::StrCat("stack '", recipe_.stacks[stack].name, "': tensor '", stack_tensor, "' is in ",
                                                   holders, " of its ", sources.names.size(),
                                                   " models; what a part of a model lacks can only be copied from one"));
  }
  const bool merges = IsMergeable(first->dtype);
  if (!merges && rescale != Rescale{}) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' has type ", Name(first->dtype), " and cannot be scaled"));
  }
  tensors_.push_back({{name, merges ? merged_type : first->dtype, first->shape}, stack, stack_tensor, rescale, partly ? first_name : "", read_bytes});
  return absl::OkStatus();
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
      return absl::InvalidArgumentError(absl::StrCat("path[", i + 1, "].scale: ", scale,
                                                     " cannot be folded into layer ", hop.layer, " of stack '",
                                                     recipe_.stacks[hop.stack].name,
                                                     "': the last operation of its MLP is not known for this architecture"));
    }
  }
  MG_RETURN_IF_ERROR(add_part(head, ModelPart::kNorm, {}));
  MG_RETURN_IF_ERROR(add_part(head, ModelPart::kHead, {}));
  MG_RETURN_IF_ERROR(add_part(embedding, std::nullopt, {}));
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

void RecipePlan::MakeBatches() {
  int64_t bytes = 0;
  for (int t = 0; t < static_cast<int>(tensors_.size()); ++t) {
    const PlannedTensor& tensor = tensors_[t];
    // mergekit's one random stream runs through all tensors of a model: they are computed together.
    const Stack& stack = recipe_.stacks[tensor.stack];
    const MergeMethod* method = FindMergeMethod(stack.method);
    const bool whole = stack.arithmetic == Arithmetic::kMergekit && method != nullptr && method->random();
    const bool joins = t > 0 && tensor.stack == tensors_[t - 1].stack && tensor.copied_from == tensors_[t - 1].copied_from &&
                       (whole || bytes + tensor.header.NumBytes() <= options_.batch_bytes);
    if (!joins) {
      batches_.push_back({t, t});
      bytes = 0;
    }
    batches_.back().end = t + 1;
    bytes += tensor.header.NumBytes();
  }
}

int64_t RecipePlan::BatchMemoryBytes() const {
  int64_t most = 0;
  for (const Batch& batch : batches_) {
    int64_t bytes = 0;
    for (int t = batch.first; t < batch.end; ++t) {
      const PlannedTensor& tensor = tensors_[t];
      bytes += tensor.header.NumBytes();
      if (tensor.rescale != Rescale{}) bytes += tensor.header.NumBytes() / SizeOf(tensor.header.dtype) * 4;
      for (const std::string& source : stacks_[tensor.stack].names) {
        if (!tensor.copied_from.empty() && source != tensor.copied_from) continue;
        bytes += stacks_[tensor.stack].by_name.at(source)->BufferBytes(SourceTensor(tensor.stack, source, tensor.stack_tensor));
      }
    }
    most = std::max(most, bytes);
  }
  return most;
}

absl::StatusOr<double> RecipePlan::EstimateSeconds() const {
  constexpr int64_t kSampleElements = 1 << 19;
  std::vector<int64_t> elements(stacks_.size());
  for (const PlannedTensor& tensor : tensors_) {
    elements[tensor.stack] += tensor.header.NumBytes() / SizeOf(tensor.header.dtype);
  }
  double seconds = 0;
  MG_ASSIGN_OR_RETURN(const DType dtype, ParseConfigDType(recipe_.dtype));
  for (size_t s = 0; s < stacks_.size(); ++s) {
    if (elements[s] == 0) continue;
    // The sample has one tensor of each settings' group that the stack's first tensors belong to: the name decides.
    std::string name;
    for (const PlannedTensor& tensor : tensors_) {
      if (tensor.stack == static_cast<int>(s) && IsMergeable(tensor.header.dtype)) name = tensor.stack_tensor;
    }
    if (name.empty()) continue;
    const std::vector<int64_t> shape = {kSampleElements / 512, 512};
    std::map<std::string, MergeSources::Model> models;
    uint32_t state = 1;
    for (const std::string& source : stacks_[s].names) {
      const auto buffer = NewBuffer(kSampleElements * 2);
      auto* values = reinterpret_cast<uint16_t*>(buffer.get());
      for (int64_t i = 0; i < kSampleElements; ++i) {
        state = state * 1664525u + 1013904223u;
        values[i] = static_cast<uint16_t>(0x3c00u | (state >> 16 & 0x83ffu));  // bf16 around +-0.01
      }
      models[source] = {source, {{name, DType::kBF16, shape, {buffer.get(), kSampleElements * 2}}}, false, buffer};
    }
    MG_ASSIGN_OR_RETURN(const ArenaLayout layout, ArenaLayout::Create({{name, shape, dtype}}));
    MG_ASSIGN_OR_RETURN(auto sources, MergeSources::Create(models, layout, &stacks_[s].roles));
    Recipe recipe = recipe_;
    recipe.path.clear();
    MG_ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Build(recipe, recipe_.stacks[s], sources));
    MG_ASSIGN_OR_RETURN(const auto arena, Arena::Create(layout));
    const absl::Duration start = Clock::Real().Monotonic();
    MG_ASSIGN_OR_RETURN(const auto materializer, Materializer::Create(sources, OneShot()));
    MG_RETURN_IF_ERROR(materializer->Run(plan, *arena));
    seconds += absl::ToDoubleSeconds(Clock::Real().Monotonic() - start) * static_cast<double>(elements[s]) / kSampleElements;
  }
  return seconds;
}

MaterializerOptions RecipePlan::OneShot() const {
  MaterializerOptions options;
  options.threads = options_.threads;
  options.order_bytes_max = 0;  // an order pays off for many candidates, not for one
  return options;
}

std::string RecipePlan::Describe(const PlannedTensor& tensor) const {
  const Stack& stack = recipe_.stacks[tensor.stack];
  if (!tensor.copied_from.empty()) return absl::StrCat("copy of ", tensor.copied_from);
  std::string text = stack.method.empty() || !IsMergeable(tensor.header.dtype)
                         ? absl::StrCat("copy of ", stack.sources[0])
                         : absl::StrCat(stack.method, " of ", absl::StrJoin(stack.sources, ", "));
  if (!stack.base.empty()) absl::StrAppend(&text, " onto ", stack.base);
  if (tensor.rescale != Rescale{}) absl::StrAppend(&text, ", times ", tensor.rescale.scale);
  return text;
}

absl::StatusOr<LoadedTensor> RecipePlan::LoadInteger(int stack, const std::string& tensor) const {
  const StackSources& sources = stacks_[stack];
  MG_ASSIGN_OR_RETURN(LoadedTensor first,
                      sources.by_name.at(sources.names[0])->Load(SourceTensor(stack, sources.names[0], tensor)));
  for (size_t i = 1; i < sources.names.size(); ++i) {
    const std::string& name = sources.names[i];
    MG_ASSIGN_OR_RETURN(const LoadedTensor other, sources.by_name.at(name)->Load(SourceTensor(stack, name, tensor)));
    if (other.view.data != first.view.data) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor, "' holds integers that differ between '",
                                                     sources.names[0], "' and '", name, "': they cannot be merged"));
    }
  }
  return first;
}

absl::StatusOr<RecipePlan::Result> RecipePlan::MergeTensors(int stack, const std::vector<std::string>& tensors, DType dtype,
                                                            std::stop_token stop) const {
  const StackSources& sources = stacks_[stack];
  std::vector<ArenaTensor> layout;
  std::map<std::string, MergeSources::Model> models;
  std::vector<LoadedTensor> loaded;
  for (const std::string& name : sources.names) {
    MergeSources::Model& model = models[name];
    model.label = sources.by_name.at(name)->label();
    for (const std::string& tensor : tensors) {
      MG_ASSIGN_OR_RETURN(LoadedTensor one, sources.by_name.at(name)->Load(SourceTensor(stack, name, tensor)));
      TensorView view = one.view;
      view.name = tensor;
      if (model.tensors.size() == layout.size()) layout.push_back({tensor, view.shape, dtype});
      model.tensors.push_back(std::move(view));
      loaded.push_back(std::move(one));
    }
  }
  MG_ASSIGN_OR_RETURN(const ArenaLayout arena_layout, ArenaLayout::Create(std::move(layout)));
  MG_ASSIGN_OR_RETURN(auto merge_sources, MergeSources::Create(models, arena_layout, &sources.roles));
  Recipe recipe = recipe_;
  recipe.path.clear();
  recipe.dtype = std::string(ConfigName(dtype));
  MG_ASSIGN_OR_RETURN(const MergePlan plan, MergePlan::Build(recipe, recipe_.stacks[stack], merge_sources));
  MG_ASSIGN_OR_RETURN(const auto materializer, Materializer::Create(merge_sources, OneShot()));
  MG_ASSIGN_OR_RETURN(std::shared_ptr<Arena> arena, Arena::Create(arena_layout));
  MG_RETURN_IF_ERROR(materializer->Run(plan, *arena, stop));
  Result result;
  for (size_t i = 0; i < tensors.size(); ++i) {
    result.bytes.emplace_back(arena->data(static_cast<int>(i)), static_cast<size_t>(arena_layout.tensors()[i].NumBytes()));
    result.owners.push_back(arena);
  }
  return result;
}

absl::StatusOr<RecipePlan::Result> RecipePlan::Compute(const Batch& batch, std::stop_token stop) const {
  const int stack = tensors_[batch.first].stack;
  const std::string& only_source = tensors_[batch.first].copied_from;
  const bool copies = recipe_.stacks[stack].method.empty() || !only_source.empty();
  const std::string& copied = only_source.empty() ? stacks_[stack].names[0] : only_source;
  ThreadPool pool(options_.threads);
  // Merged tensors by name in the stack, as they are stored, and in fp32 where they are rescaled.
  std::vector<std::string> plain, rescaled;
  absl::flat_hash_map<std::string, size_t> plain_at, rescaled_at;
  for (int t = batch.first; t < batch.end && !copies; ++t) {
    const PlannedTensor& tensor = tensors_[t];
    if (!IsMergeable(tensor.header.dtype)) continue;
    auto& list = tensor.rescale == Rescale{} ? plain : rescaled;
    auto& at = tensor.rescale == Rescale{} ? plain_at : rescaled_at;
    if (at.emplace(tensor.stack_tensor, list.size()).second) list.push_back(tensor.stack_tensor);
  }
  Result plain_result, rescaled_result;
  if (!plain.empty()) {
    MG_ASSIGN_OR_RETURN(const DType dtype, ParseConfigDType(recipe_.dtype));
    MG_ASSIGN_OR_RETURN(plain_result, MergeTensors(stack, plain, dtype, stop));
  }
  if (!rescaled.empty()) {
    MG_ASSIGN_OR_RETURN(rescaled_result, MergeTensors(stack, rescaled, DType::kF32, stop));
  }
  Result result;
  for (int t = batch.first; t < batch.end; ++t) {
    if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
    const PlannedTensor& tensor = tensors_[t];
    const TensorHeader& header = tensor.header;
    if (!IsMergeable(header.dtype)) {
      MG_ASSIGN_OR_RETURN(LoadedTensor loaded,
                          copies ? stacks_[stack].by_name.at(copied)->Load(SourceTensor(stack, copied, tensor.stack_tensor))
                                 : LoadInteger(stack, tensor.stack_tensor));
      result.bytes.push_back(loaded.view.data);
      result.owners.push_back(std::move(loaded.owner));
      continue;
    }
    if (!copies && tensor.rescale == Rescale{}) {
      const size_t at = plain_at.at(tensor.stack_tensor);
      result.bytes.push_back(plain_result.bytes[at]);
      result.owners.push_back(plain_result.owners[at]);
      continue;
    }
    LoadedTensor from;
    if (copies) {
      MG_ASSIGN_OR_RETURN(from, stacks_[stack].by_name.at(copied)->Load(SourceTensor(stack, copied, tensor.stack_tensor)));
      const int64_t bad = FindNonFinite(from.view, pool);
      if (bad >= 0) {
        return absl::InvalidArgumentError(absl::StrCat("tensor '", from.view.name, "' of '", copied, "' (",
                                                       stacks_[stack].by_name.at(copied)->label(),
                                                       ") is not finite at index ", bad));
      }
    } else {
      const size_t at = rescaled_at.at(tensor.stack_tensor);
      from = {{header.name, DType::kF32, header.shape, rescaled_result.bytes[at]}, rescaled_result.owners[at]};
    }
    if (from.view.dtype == header.dtype && tensor.rescale == Rescale{}) {
      result.bytes.push_back(from.view.data);
      result.owners.push_back(std::move(from.owner));
      continue;
    }
    const auto buffer = NewBuffer(header.NumBytes());
    if (!Convert(from.view, header.dtype, tensor.rescale, pool, buffer.get())) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", header.name, "': a value is beyond the range of ",
                                                     Name(header.dtype)));
    }
    result.bytes.emplace_back(buffer.get(), static_cast<size_t>(header.NumBytes()));
    result.owners.push_back(buffer);
  }
  return result;
}

}  // namespace merganser

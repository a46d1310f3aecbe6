// The second half of recipe_plan.h: what is done with a plan that holds.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "worker/merge/arena.h"
#include "worker/merge/float_blocks.h"
#include "worker/merge/materializer.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/piece_queue.h"
#include "worker/merge/recipe_plan.h"
#include "worker/merge/source_facts.h"
#include "worker/merge/thread_pool.h"

namespace merganser {
namespace {

constexpr int64_t kChunkElements = 65536;

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

// `tensor` of the model `source`, as it is copied.
absl::StatusOr<LoadedTensor> LoadFinite(const TensorSource& from, const std::string& source, const std::string& tensor,
                                        ThreadPool& pool) {
  MG_ASSIGN_OR_RETURN(LoadedTensor loaded, from.Load(tensor));
  const int64_t bad = FindNonFinite(loaded.view, pool);
  if (bad < 0) return loaded;
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", loaded.view.name, "' of '", source, "' (", from.label(), ") is not finite at index ", bad));
}

}  // namespace

void RecipePlan::MakeBatches() {
  int64_t bytes = 0;
  for (int t = 0; t < static_cast<int>(tensors_.size()); ++t) {
    const PlannedTensor& tensor = tensors_[t];
    // mergekit's arithmetic takes whole tensors: one for each thread.
    const bool whole = recipe_.stacks[tensor.stack].arithmetic == Arithmetic::kMergekit;
    const bool joins = t > 0 && tensor.stack == tensors_[t - 1].stack && tensor.copied_from == tensors_[t - 1].copied_from &&
                       (bytes + tensor.header.NumBytes() <= options_.batch_bytes ||
                        (whole && t - batches_.back().first < options_.threads));
    if (!joins) {
      batches_.push_back({t, t});
      bytes = 0;
    }
    batches_.back().end = t + 1;
    bytes += tensor.header.NumBytes();
  }
}

int64_t RecipePlan::MemoryOf(const Batch& batch) const {
  const PlannedTensor& first = tensors_[batch.first];
  const Stack& stack = recipe_.stacks[first.stack];
  const MergeMethod* method = first.copied_from.empty() ? FindMergeMethod(stack.method) : nullptr;
  const auto sources = static_cast<int64_t>(stack.sources.size());
  int64_t loaded = 0, results = 0, in_fp32 = 0, merged = 0;
  std::vector<int64_t> sizes;
  for (int t = batch.first; t < batch.end; ++t) {
    const PlannedTensor& tensor = tensors_[t];
    const int64_t elements = tensor.header.NumBytes() / SizeOf(tensor.header.dtype);
    bool converts = method != nullptr;
    for (const std::string& source : stacks_[tensor.stack].names) {
      if (!tensor.copied_from.empty() && source != tensor.copied_from) continue;
      const std::string own = SourceTensor(tensor.stack, source, tensor.stack_tensor);
      const TensorSource& model = *stacks_[tensor.stack].by_name.at(source);
      loaded += model.BufferBytes(own);
      converts |= model.Find(own)->dtype != tensor.header.dtype;
    }
    if (tensor.rescale != Rescale{}) in_fp32 += elements * 4;
    if (converts || tensor.rescale != Rescale{}) results += tensor.header.NumBytes();
    merged += elements;
    sizes.push_back(elements);
  }
  if (method != nullptr && stack.arithmetic == Arithmetic::kMergekit) {
    // Of each tensor that a thread has: base and sources in fp32, and as much again as two of them.
    std::sort(sizes.rbegin(), sizes.rend());
    sizes.resize(std::min<size_t>(sizes.size(), options_.threads));
    for (const int64_t elements : sizes) in_fp32 += (sources + 3) * elements * 4;
    return loaded + in_fp32 + 2 * results;
  }
  int64_t statistics = 0;
  if (method != nullptr) {
    using Statistic = MergeMethod::Statistic;
    constexpr int64_t kVarianceBytes = int64_t{6} << 20, kFusionBytes = int64_t{2} << 20;  // of a thread
    switch (method->statistic()) {
      case Statistic::kRandomMask:
      case Statistic::kRankedMask:
        statistics = sources * merged / 8;  // bits
        break;
      case Statistic::kMagnitudeCut:
        statistics = sources * merged / 2;  // within a cut's bracket
        break;
      case Statistic::kMagnitudeBand:
        statistics = sources * merged * 2 / 3;  // ... of two cuts
        break;
      case Statistic::kVarianceCut:
        statistics = kVarianceBytes * options_.threads;
        break;
      case Statistic::kFusion:
        statistics = kFusionBytes * options_.threads;
        break;
      default:
        break;
    }
  }
  // Results that do not go through the queue's buffers are there twice: the consumer's, and the next ones.
  return loaded + in_fp32 + statistics + (RunsOf(batch) ? 0 : 2 * results);
}

int64_t RecipePlan::MemoryBytes() const {
  constexpr int64_t kProcessBytes = int64_t{4} << 20, kThreadBytes = int64_t{1} << 20;
  int64_t most = 0, queue = 0, streamed = 0;
  for (const Batch& batch : batches_) {
    most = std::max(most, MemoryOf(batch));
    const std::optional<int64_t> runs = RunsOf(batch);
    if (!runs) continue;
    const int64_t run = kRunElements * SizeOf(tensors_[batch.first].header.dtype);
    queue = std::max(queue, PieceQueue::BytesOf(options_.batch_bytes, run));
    streamed += *runs * run;
  }
  return kProcessBytes + kThreadBytes * options_.threads + std::min(queue, streamed) + most;
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
    absl::Duration least = absl::InfiniteDuration();  // the first touches fresh memory, and others may use the machine
    ThreadPool pool(options_.threads);
    for (int i = 0; i < 3; ++i) {
      MG_ASSIGN_OR_RETURN(const auto materializer, Materializer::Create(sources, OneShot(&pool)));
      const absl::Duration start = Clock::Real().Monotonic();
      MG_RETURN_IF_ERROR(materializer->Run(plan, *arena));
      least = std::min(least, Clock::Real().Monotonic() - start);
    }
    seconds += absl::ToDoubleSeconds(least) * static_cast<double>(elements[s]) / kSampleElements;
  }
  return seconds;
}

MaterializerOptions RecipePlan::OneShot(ThreadPool* pool) const {
  MaterializerOptions options;
  options.threads = options_.threads;
  options.one_shot = true;
  options.pool = pool;
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

absl::StatusOr<RecipePlan::TensorMerge> RecipePlan::PrepareTensors(int stack, const std::vector<std::string>& tensors,
                                                                   DType dtype, MergeMemory& memory) const {
  const StackSources& sources = stacks_[stack];
  std::vector<ArenaTensor> layout;
  std::map<std::string, MergeSources::Model> models;
  TensorMerge merge;
  for (const std::string& name : sources.names) {
    MergeSources::Model& model = models[name];
    model.label = sources.by_name.at(name)->label();
    for (const std::string& tensor : tensors) {
      MG_ASSIGN_OR_RETURN(LoadedTensor one, sources.by_name.at(name)->Load(SourceTensor(stack, name, tensor)));
      TensorView view = one.view;
      view.name = tensor;
      if (model.tensors.size() == layout.size()) layout.push_back({tensor, view.shape, dtype});
      model.tensors.push_back(std::move(view));
      merge.loaded.push_back(std::move(one));
    }
  }
  MG_ASSIGN_OR_RETURN(const ArenaLayout arena_layout, ArenaLayout::Create(std::move(layout)));
  MG_ASSIGN_OR_RETURN(auto merge_sources, MergeSources::Create(models, arena_layout, &sources.roles));
  Recipe recipe = recipe_;
  recipe.path.clear();
  recipe.dtype = std::string(ConfigName(dtype));
  MG_ASSIGN_OR_RETURN(merge.plan, MergePlan::Build(recipe, recipe_.stacks[stack], merge_sources));
  MG_ASSIGN_OR_RETURN(merge.materializer, Materializer::Create(merge_sources, OneShot(&memory.pool)));
  return merge;
}

absl::StatusOr<RecipePlan::Result> RecipePlan::MergeTensors(int stack, const std::vector<std::string>& tensors,
                                                            const std::vector<int>& places, DType dtype, MergeMemory& memory,
                                                            std::stop_token stop) const {
  MG_ASSIGN_OR_RETURN(TensorMerge merge, PrepareTensors(stack, tensors, dtype, memory));
  if (DrawsLikeMergekit(stack)) {
    MG_RETURN_IF_ERROR(FillStreams(memory, stop));
    std::vector<TorchRandom> streams;
    for (const int place : places) streams.push_back(memory.streams[draw_of_[place]]);
    merge.plan->set_streams(std::move(streams));
  }
  const ArenaLayout& layout = merge.materializer->sources()->layout();
  MG_ASSIGN_OR_RETURN(std::shared_ptr<Arena> arena, Arena::Create(layout, memory.pages));
  MG_RETURN_IF_ERROR(merge.materializer->Run(*merge.plan, *arena, stop));
  Result result;
  for (size_t i = 0; i < tensors.size(); ++i) {
    result.bytes.emplace_back(arena->data(static_cast<int>(i)), static_cast<size_t>(layout.tensors()[i].NumBytes()));
    result.owners.push_back(arena);
  }
  return result;
}

std::optional<int64_t> RecipePlan::RunsOf(const Batch& batch) const {
  const Stack& stack = recipe_.stacks[tensors_[batch.first].stack];
  if (stack.method.empty() || stack.arithmetic == Arithmetic::kMergekit) return std::nullopt;
  std::set<std::string> seen;
  int64_t runs = 0;
  for (int t = batch.first; t < batch.end; ++t) {
    const PlannedTensor& tensor = tensors_[t];
    if (!tensor.copied_from.empty() || !IsMergeable(tensor.header.dtype) || tensor.rescale != Rescale{} ||
        !seen.insert(tensor.stack_tensor).second) {
      return std::nullopt;
    }
    const int64_t elements = tensor.header.NumBytes() / SizeOf(tensor.header.dtype);
    runs += (elements + kRunElements - 1) / kRunElements;
  }
  return runs;
}

absl::Status RecipePlan::Stream(const Batch& batch, MergeMemory& memory, RunSink& sink, std::stop_token stop) const {
  std::vector<std::string> tensors;
  for (int t = batch.first; t < batch.end; ++t) tensors.push_back(tensors_[t].stack_tensor);
  MG_ASSIGN_OR_RETURN(const DType dtype, ParseConfigDType(recipe_.dtype));
  MG_ASSIGN_OR_RETURN(const TensorMerge merge, PrepareTensors(tensors_[batch.first].stack, tensors, dtype, memory));
  return merge.materializer->Stream(*merge.plan, sink, std::move(stop));
}

absl::StatusOr<RecipePlan::Result> RecipePlan::Compute(const Batch& batch, MergeMemory& memory, std::stop_token stop) const {
  const int stack = tensors_[batch.first].stack;
  const std::string& only_source = tensors_[batch.first].copied_from;
  const bool copies = recipe_.stacks[stack].method.empty() || !only_source.empty();
  const std::string& copied = only_source.empty() ? stacks_[stack].names[0] : only_source;
  ThreadPool& pool = memory.pool;
  // Merged tensors by name in the stack, as they are stored, and in fp32 where they are rescaled.
  std::vector<std::string> plain, rescaled;
  std::vector<int> plain_places, rescaled_places;
  absl::flat_hash_map<std::string, size_t> plain_at, rescaled_at;
  for (int t = batch.first; t < batch.end && !copies; ++t) {
    const PlannedTensor& tensor = tensors_[t];
    if (!IsMergeable(tensor.header.dtype)) continue;
    auto& list = tensor.rescale == Rescale{} ? plain : rescaled;
    auto& at = tensor.rescale == Rescale{} ? plain_at : rescaled_at;
    if (!at.emplace(tensor.stack_tensor, list.size()).second) continue;
    list.push_back(tensor.stack_tensor);
    (tensor.rescale == Rescale{} ? plain_places : rescaled_places).push_back(t);
  }
  Result plain_result, rescaled_result;
  if (!plain.empty()) {
    MG_ASSIGN_OR_RETURN(const DType dtype, ParseConfigDType(recipe_.dtype));
    MG_ASSIGN_OR_RETURN(plain_result, MergeTensors(stack, plain, plain_places, dtype, memory, stop));
  }
  if (!rescaled.empty()) {
    MG_ASSIGN_OR_RETURN(rescaled_result, MergeTensors(stack, rescaled, rescaled_places, DType::kF32, memory, stop));
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
      MG_ASSIGN_OR_RETURN(from, LoadFinite(*stacks_[stack].by_name.at(copied), copied,
                                           SourceTensor(stack, copied, tensor.stack_tensor), pool));
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
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", header.name, "': a value is beyond the range of ", Name(header.dtype)));
    }
    result.bytes.emplace_back(buffer.get(), static_cast<size_t>(header.NumBytes()));
    result.owners.push_back(buffer);
  }
  return result;
}

}  // namespace merganser

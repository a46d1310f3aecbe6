#include "worker/merge/materializer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/domain/limits.h"

namespace merganser {
namespace {

constexpr int64_t kChunkElements =
    65536;  // sums over chunks are part of results: changing it changes DARE's last bits
constexpr double kL1Min = 1e-7;  // mergekit's bound; norms below it are not rescaled

FloatTensor InArena(const Arena& arena, int tensor) {
  const ArenaTensor& spec = arena.layout().tensors()[tensor];
  return {spec.dtype, arena.data(tensor), spec.NumElements()};
}

void AtomicMin(std::atomic<int64_t>& value, int64_t other) {
  int64_t seen = value.load();
  while (other < seen && !value.compare_exchange_weak(seen, other)) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Materializer>> Materializer::Create(
    std::shared_ptr<const MergeSources> sources, const MaterializerOptions& options) {
  if (options.threads < 1 || options.threads > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("materializer: threads ", options.threads, " is not in [1, 1024]"));
  }
  if (options.block_elements < 64 || options.block_elements % 64 != 0 ||
      kChunkElements % options.block_elements != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("materializer: block_elements ", options.block_elements,
                     " is not a multiple of 64 that divides ", kChunkElements));
  }
  if (sources->names().size() > limits::kModelsMax) {
    return absl::InvalidArgumentError(absl::StrCat("materializer: ", sources->names().size(),
                                                   " models; at most ", limits::kModelsMax));
  }
  std::unique_ptr<Materializer> materializer(new Materializer(std::move(sources), options));
  MG_RETURN_IF_ERROR(materializer->CheckSourcesFinite());
  return materializer;
}

Materializer::Materializer(std::shared_ptr<const MergeSources> sources,
                           const MaterializerOptions& options)
    : sources_(std::move(sources)),
      options_(options),
      slots_(sources_->names().size()),
      pool_(options.threads) {
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  for (size_t t = 0; t < tensors.size(); ++t) {
    const int64_t elements = tensors[t].NumElements();
    for (int64_t first = 0; first < elements; first += kChunkElements) {
      chunks_.push_back({static_cast<int>(t), first, std::min(kChunkElements, elements - first)});
    }
  }
  terms_.resize(tensors.size() * slots_);
  cut_requests_.reserve(terms_.size());
  partial_l1_.resize(chunks_.size() * slots_);
  workspaces_.resize(options_.threads);
  for (Workspace& workspace : workspaces_) {
    const int64_t block = options_.block_elements;
    // 16 values more than a block each, so that blocks do not all start on the same cache set.
    const int64_t stride = block + 16;
    workspace.floats.resize((slots_ + 3) * stride);
    for (size_t s = 0; s < slots_; ++s)
      workspace.sources.push_back(workspace.floats.data() + s * stride);
    workspace.base = workspace.floats.data() + slots_ * stride;
    workspace.merged = workspace.base + stride;
    workspace.scratch = workspace.merged + stride;
    workspace.words.resize(std::max<int64_t>(block, MaskStream::kFillWords));
    workspace.counters.resize(MagnitudeIndex::kCounters);
  }
}

absl::Status Materializer::CheckSourcesFinite() {
  const int64_t chunks = static_cast<int64_t>(chunks_.size());
  std::atomic<int64_t> first_bad = INT64_MAX;
  pool_.For(chunks * static_cast<int64_t>(slots_), [&](int, int64_t i) {
    const Chunk& chunk = chunks_[i % chunks];
    const FloatTensor& tensor = sources_->tensor(static_cast<int>(i / chunks), chunk.tensor);
    if (FirstNonFinite(tensor, chunk.first, chunk.count) >= 0) AtomicMin(first_bad, i);
  });
  if (first_bad == INT64_MAX) return absl::OkStatus();
  const Chunk& chunk = chunks_[first_bad % chunks];
  const int model = static_cast<int>(first_bad / chunks);
  const FloatTensor& tensor = sources_->tensor(model, chunk.tensor);
  const int64_t index = FirstNonFinite(tensor, chunk.first, chunk.count);
  float value;
  LoadBlock(tensor, index, 1, &value);
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", sources_->layout().tensors()[chunk.tensor].name, "' of ",
                   sources_->Describe(model), " holds ", value, " at index ", index));
}

void Materializer::Prepare(const MergePlan& plan) {
  if (plan.method() == nullptr) return;
  for (const int model : plan.models()) {
    if (plan.method()->statistic() == MergeMethod::Statistic::kMagnitudeCut)
      PrepareMagnitudes(plan.base(), model);
    if (plan.method()->statistic() != MergeMethod::Statistic::kNone && plan.rescales())
      PrepareL1(plan.base(), model);
  }
}

void Materializer::PrepareMagnitudes(int base, int model) {
  TaskVectorFacts& facts = facts_[{base, model}];
  if (!facts.magnitudes.empty()) return;
  const int tensors = static_cast<int>(sources_->layout().tensors().size());
  // Smallest tensors first: the bound then buys orders for as many as it can.
  std::vector<int> by_size(tensors);
  std::iota(by_size.begin(), by_size.end(), 0);
  std::stable_sort(by_size.begin(), by_size.end(), [&](int a, int b) {
    return sources_->tensor(base, a).count < sources_->tensor(base, b).count;
  });
  std::vector<bool> whole_order(tensors);
  for (const int t : by_size) {
    const int64_t bytes = MagnitudeIndex::OrderBytes(sources_->tensor(base, t).count);
    if (bytes >= (int64_t{1} << 34) || order_bytes_ + bytes > options_.order_bytes_max) break;
    order_bytes_ += bytes;
    whole_order[t] = true;
  }
  facts.magnitudes.resize(tensors);
  pool_.For(tensors, [&](int, int64_t i) {
    const int t = by_size[tensors - 1 - i];  // the largest first, for balance
    const FloatTensor& from = sources_->tensor(base, t);
    const FloatTensor& to = sources_->tensor(model, t);
    facts.magnitudes[t] = whole_order[t] ? MagnitudeIndex::BuildOrder(from, to)
                                         : MagnitudeIndex::BuildHistogram(from, to);
  });
}

void Materializer::PrepareL1(int base, int model) {
  TaskVectorFacts& facts = facts_[{base, model}];
  if (!facts.l1.empty()) return;
  std::vector<double> partial(chunks_.size());
  pool_.For(static_cast<int64_t>(chunks_.size()), [&](int thread, int64_t c) {
    Workspace& w = workspaces_[thread];
    const Chunk& chunk = chunks_[c];
    L1Lanes lanes{};
    for (int64_t at = 0; at < chunk.count; at += options_.block_elements) {
      const int64_t n = std::min(options_.block_elements, chunk.count - at);
      LoadBlock(sources_->tensor(base, chunk.tensor), chunk.first + at, n, w.base);
      LoadBlock(sources_->tensor(model, chunk.tensor), chunk.first + at, n, w.merged);
      Subtract(w.base, n, w.merged);
      AddL1(w.merged, n, lanes);
    }
    partial[c] = Total(lanes);
  });
  facts.l1.resize(sources_->layout().tensors().size());
  for (size_t c = 0; c < chunks_.size(); ++c) facts.l1[chunks_[c].tensor] += partial[c];
}

void Materializer::SetTerms(const MergePlan& plan) {
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  const bool masked = plan.method()->statistic() == MergeMethod::Statistic::kRandomMask;
  for (int t = 0; t < static_cast<int>(tensors.size()); ++t) {
    const MergeSettings& settings = plan.settings(t);
    for (int s = 0; s < static_cast<int>(plan.models().size()); ++s) {
      SourceTerm& term = this->term(t, s);
      term = SourceTerm{};
      term.weight = static_cast<float>(settings.weights[s]);
      if (!masked) continue;
      term.mask_rule = MaskRule::For(settings.densities[s]);
      term.mask =
          MaskStream::For(plan.mask_seed(), sources_->names()[plan.models()[s]], tensors[t].name);
    }
  }
}

absl::Status Materializer::FindCuts(const MergePlan& plan, std::stop_token stop) {
  cut_requests_.clear();
  for (int t = 0; t < static_cast<int>(sources_->layout().tensors().size()); ++t) {
    for (int s = 0; s < static_cast<int>(plan.models().size()); ++s) {
      if (plan.settings(t).densities[s] < 1) cut_requests_.push_back({t, s});
    }
  }
  pool_.For(static_cast<int64_t>(cut_requests_.size()), [&](int thread, int64_t i) {
    if (stop.stop_requested()) return;
    const CutRequest& request = cut_requests_[i];
    const int model = plan.models()[request.slot];
    const MagnitudeIndex& index =
        facts_.find({plan.base(), model})->second.magnitudes[request.tensor];
    const int64_t kept =
        MagnitudeIndex::KeptCount(plan.settings(request.tensor).densities[request.slot],
                                  sources_->tensor(model, request.tensor).count);
    term(request.tensor, request.slot).cut = index.Cut(kept, workspaces_[thread].counters.data());
  });
  return stop.stop_requested() ? absl::CancelledError("the merge was cancelled") : absl::OkStatus();
}

double Materializer::KeptL1(const MergePlan& plan, const Chunk& chunk, int slot,
                            Workspace& w) const {
  const SourceTerm& term = this->term(chunk.tensor, slot);
  L1Lanes lanes{};
  for (int64_t at = 0; at < chunk.count; at += options_.block_elements) {
    const int64_t n = std::min(options_.block_elements, chunk.count - at);
    LoadBlock(sources_->tensor(plan.base(), chunk.tensor), chunk.first + at, n, w.base);
    LoadBlock(sources_->tensor(plan.models()[slot], chunk.tensor), chunk.first + at, n, w.merged);
    Subtract(w.base, n, w.merged);
    if (plan.method()->statistic() == MergeMethod::Statistic::kMagnitudeCut) {
      Trim(term.cut, chunk.first + at, n, w.merged);
    } else {
      term.mask.Fill(chunk.first + at, n, w.words.data());
      KeepMasked(w.words.data(), term.mask_rule.limit, n, w.merged);
    }
    AddL1(w.merged, n, lanes);
  }
  return Total(lanes);
}

absl::Status Materializer::FindScales(const MergePlan& plan, std::stop_token stop) {
  const int slots = static_cast<int>(plan.models().size());
  const auto rescaled = [&](int tensor, int slot) {
    const double density = plan.settings(tensor).densities[slot];
    // What is kept by none of the 2^32 words has no norm to rescale.
    return plan.settings(tensor).rescale && density < 1 && density > 0 &&
           term(tensor, slot).mask_rule.kind != MaskRule::Kind::kNone;
  };
  pool_.For(static_cast<int64_t>(chunks_.size()), [&](int thread, int64_t c) {
    for (int s = 0; s < slots && !stop.stop_requested(); ++s) {
      if (rescaled(chunks_[c].tensor, s))
        partial_l1_[c * slots_ + s] = KeptL1(plan, chunks_[c], s, workspaces_[thread]);
    }
  });
  if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
  for (int s = 0; s < slots; ++s) {
    const std::vector<double>& l1 = facts_.find({plan.base(), plan.models()[s]})->second.l1;
    for (size_t c = 0; c < chunks_.size();) {
      const int tensor = chunks_[c].tensor;
      double masked = 0;
      for (; c < chunks_.size() && chunks_[c].tensor == tensor; ++c)
        masked += partial_l1_[c * slots_ + s];
      if (rescaled(tensor, s) && l1[tensor] >= kL1Min && masked >= kL1Min) {
        term(tensor, s).kept_scale = static_cast<float>(l1[tensor] / masked);
      }
    }
  }
  return absl::OkStatus();
}

bool Materializer::MergeChunk(const MergePlan& plan, const Chunk& chunk, Workspace& w,
                              Arena& arena) const {
  const MergeSettings& settings = plan.settings(chunk.tensor);
  const size_t slots = plan.models().size();
  const TensorTerms terms{absl::MakeConstSpan(&term(chunk.tensor, 0), slots),
                          static_cast<float>(settings.lambda), settings.normalize};
  const DType dtype = arena.layout().tensors()[chunk.tensor].dtype;
  std::byte* out = arena.data(chunk.tensor) + chunk.first * SizeOf(dtype);
  bool finite = true;
  for (int64_t at = 0; at < chunk.count; at += options_.block_elements) {
    const int64_t n = std::min(options_.block_elements, chunk.count - at);
    if (plan.base() >= 0)
      LoadBlock(sources_->tensor(plan.base(), chunk.tensor), chunk.first + at, n, w.base);
    for (size_t s = 0; s < slots; ++s) {
      LoadBlock(sources_->tensor(plan.models()[s], chunk.tensor), chunk.first + at, n,
                w.sources[s]);
    }
    const MergeBlock block{chunk.first + at, n,         plan.base() >= 0 ? w.base : nullptr,
                           w.sources.data(), w.scratch, w.words.data()};
    plan.method()->Merge(terms, block, w.merged);
    finite &= StoreBlock(dtype, w.merged, n, out + at * SizeOf(dtype));
  }
  return finite;
}

bool Materializer::CopyChunk(const MergePlan& plan, const Chunk& chunk, Workspace& w,
                             Arena& arena) const {
  const FloatTensor& tensor = sources_->tensor(plan.models()[0], chunk.tensor);
  const DType dtype = arena.layout().tensors()[chunk.tensor].dtype;
  const int64_t size = SizeOf(dtype);
  std::byte* out = arena.data(chunk.tensor) + chunk.first * size;
  if (tensor.dtype == dtype) {
    std::memcpy(out, tensor.data + chunk.first * size, chunk.count * size);
    return true;
  }
  bool finite = true;
  for (int64_t at = 0; at < chunk.count; at += options_.block_elements) {
    const int64_t n = std::min(options_.block_elements, chunk.count - at);
    LoadBlock(tensor, chunk.first + at, n, w.merged);
    finite &= StoreBlock(dtype, w.merged, n, out + at * size);
  }
  return finite;
}

absl::Status Materializer::Run(const MergePlan& plan, Arena& arena, std::stop_token stop) {
  if (plan.sources() != sources_) {
    return absl::InvalidArgumentError("the plan was built for the sources of another materializer");
  }
  if (arena.layout().tensors() != sources_->layout().tensors()) {
    return absl::InvalidArgumentError("the arena's layout is not that of the sources");
  }
  if (plan.method() != nullptr) {
    Prepare(plan);
    SetTerms(plan);
    if (plan.method()->statistic() == MergeMethod::Statistic::kMagnitudeCut)
      MG_RETURN_IF_ERROR(FindCuts(plan, stop));
    if (plan.method()->statistic() != MergeMethod::Statistic::kNone && plan.rescales())
      MG_RETURN_IF_ERROR(FindScales(plan, stop));
  }
  std::atomic<int64_t> first_bad = INT64_MAX;
  pool_.For(static_cast<int64_t>(chunks_.size()), [&](int thread, int64_t c) {
    if (stop.stop_requested()) return;
    Workspace& workspace = workspaces_[thread];
    const bool finite = plan.method() != nullptr ? MergeChunk(plan, chunks_[c], workspace, arena)
                                                 : CopyChunk(plan, chunks_[c], workspace, arena);
    if (!finite) AtomicMin(first_bad, c);
  });
  if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
  return first_bad == INT64_MAX ? absl::OkStatus()
                                : DescribeNonFinite(plan, chunks_[first_bad], arena);
}

absl::Status Materializer::DescribeNonFinite(const MergePlan& plan, const Chunk& chunk,
                                             const Arena& arena) const {
  const FloatTensor merged = InArena(arena, chunk.tensor);
  const int64_t index = FirstNonFinite(merged, chunk.first, chunk.count);
  const ArenaTensor& spec = arena.layout().tensors()[chunk.tensor];
  float value;
  LoadBlock(merged, index, 1, &value);
  std::string message = absl::StrCat("tensor '", spec.name, "': the merged value at index ", index,
                                     " is ", value, " in ", Name(spec.dtype), "; the models hold");
  const auto add = [&](int model) {
    LoadBlock(sources_->tensor(model, chunk.tensor), index, 1, &value);
    absl::StrAppend(&message, " ", value, " (", sources_->names()[model], ")");
  };
  if (plan.base() >= 0) add(plan.base());
  for (const int model : plan.models()) add(model);
  return absl::InvalidArgumentError(message);
}

}  // namespace merganser

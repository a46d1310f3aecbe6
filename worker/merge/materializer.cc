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
#include "worker/merge/mergekit/mergekit_arithmetic.h"
#include "worker/merge/prefetch.h"

namespace merganser {
namespace {

// Runs at their places in an arena.
class RunsInArena final : public RunSink {
 public:
  RunsInArena(const std::vector<TensorRun>& runs, Arena& arena) : runs_(runs), arena_(arena) {}

  std::byte* Room(int64_t run) override {
    const TensorRun& own = runs_[run];
    return arena_.data(own.tensor) + own.first * SizeOf(arena_.layout().tensors()[own.tensor].dtype);
  }
  void Put(int64_t /*run*/, int64_t /*bytes*/) override {}
  void Fail(int64_t /*run*/) override {}

 private:
  const std::vector<TensorRun>& runs_;
  Arena& arena_;
};

void AtomicMin(std::atomic<int64_t>& value, int64_t other) {
  int64_t seen = value.load();
  while (other < seen && !value.compare_exchange_weak(seen, other)) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Materializer>> Materializer::Create(std::shared_ptr<const MergeSources> sources,
                                                                   const MaterializerOptions& options) {
  if (options.threads < 1 || options.threads > 1024) {
    return absl::InvalidArgumentError(absl::StrCat("materializer: threads ", options.threads, " is not in [1, 1024]"));
  }
  if (options.block_elements < 64 || options.block_elements % 64 != 0 || kRunElements % options.block_elements != 0) {
    return absl::InvalidArgumentError(absl::StrCat("materializer: block_elements ", options.block_elements,
                                                   " is not a multiple of 64 that divides ", kRunElements));
  }
  if (sources->names().size() > limits::kModelsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("materializer: ", sources->names().size(), " models; at most ", limits::kModelsMax));
  }
  std::unique_ptr<Materializer> materializer(new Materializer(std::move(sources), options));
  if (!options.one_shot) MG_RETURN_IF_ERROR(materializer->CheckSourcesFinite());
  return materializer;
}

Materializer::Materializer(std::shared_ptr<const MergeSources> sources, const MaterializerOptions& options)
    : sources_(std::move(sources)),
      options_(options),
      runs_(RunsOf(sources_->layout())),
      terms_(sources_, options.mask_bytes_max),
      own_pool_(options.pool == nullptr ? std::make_unique<ThreadPool>(options.threads) : nullptr),
      pool_(options.pool == nullptr ? *own_pool_ : *options.pool),
      facts_(sources_, pool_, options.order_bytes_max, options.one_shot) {
  for (int thread = 0; thread < pool_.threads(); ++thread) {
    workspaces_.emplace_back(sources_->names().size(), options.block_elements);
  }
}

absl::Status Materializer::CheckSourcesFinite() {
  const int64_t runs = static_cast<int64_t>(runs_.size());
  std::atomic<int64_t> first_bad = INT64_MAX;
  pool_.For(runs * static_cast<int64_t>(sources_->names().size()), [&](int, int64_t i) {
    const TensorRun& run = runs_[i % runs];
    const FloatTensor& tensor = sources_->tensor(static_cast<int>(i / runs), run.tensor);
    if (FirstNonFinite(tensor, run.first, run.count) >= 0) AtomicMin(first_bad, i);
  });
  if (first_bad == INT64_MAX) return absl::OkStatus();
  const TensorRun& run = runs_[first_bad % runs];
  const int model = static_cast<int>(first_bad / runs);
  const FloatTensor& tensor = sources_->tensor(model, run.tensor);
  const int64_t index = FirstNonFinite(tensor, run.first, run.count);
  float value;
  LoadBlock(tensor, index, 1, &value);
  return absl::InvalidArgumentError(absl::StrCat("tensor '", sources_->layout().tensors()[run.tensor].name, "' of ",
                                                 sources_->Describe(model), " holds ", value, " at index ", index));
}

void Materializer::Prepare(const MergePlan& plan) { facts_.Prepare(plan); }

std::optional<bool> Materializer::MergeStoredRun(const MergePlan& plan, const TensorRun& run, std::byte* out) const {
  constexpr int64_t kPiece = 2048;  // checked while it is in the cache
  if (TypeOf(run) != DType::kBF16) return std::nullopt;
  std::vector<const FloatTensor*> tensors;  // the sources, then the base
  for (const int model : plan.models()) tensors.push_back(&sources_->tensor(model, run.tensor));
  if (plan.base() >= 0) tensors.push_back(&sources_->tensor(plan.base(), run.tensor));
  for (const FloatTensor* tensor : tensors) {
    if (tensor->dtype != DType::kBF16) return std::nullopt;
  }
  const TensorTerms terms = terms_.Of(run.tensor);
  std::vector<const std::byte*> from(tensors.size());
  bool finite = true;
  for (int64_t first = run.first, end = run.first + run.count; first < end; first += kPiece) {
    const int64_t n = std::min(kPiece, end - first);
    for (size_t i = 0; i < tensors.size(); ++i) {
      from[i] = tensors[i]->data + 2 * first;
      Prefetch(*tensors[i], first + n, kPiece);
    }
    const BF16Block block{first, n, plan.base() >= 0 ? from.back() : nullptr, from.data(), out + 2 * (first - run.first)};
    const std::optional<bool> merged = plan.method()->MergeBF16(terms, block);
    if (!merged) return std::nullopt;
    finite &= *merged;
    for (size_t i = 0; options_.one_shot && i < tensors.size(); ++i) finite &= FirstNonFinite(*tensors[i], first, n) < 0;
  }
  return finite;
}

bool Materializer::ComputeRun(const MergePlan& plan, const TensorRun& run, Workspace& w, std::byte* out) const {
  return plan.method() != nullptr ? MergeRun(plan, run, w, out) : CopyRun(plan, run, w, out);
}

bool Materializer::MergeRun(const MergePlan& plan, const TensorRun& run, Workspace& w, std::byte* out) const {
  if (const std::optional<bool> merged = MergeStoredRun(plan, run, out)) return *merged;
  const size_t slots = plan.models().size();
  const TensorTerms terms = terms_.Of(run.tensor);
  const bool ranked = plan.method()->statistic() == MergeMethod::Statistic::kRankedMask;
  if (ranked) {
    w.MakeRoomForRanked(slots);
    for (size_t s = 0; s < slots; ++s) {
      const SourceTerm& term = terms.sources[s];
      if (term.ranked.kind != MaskRule::Kind::kSome || term.mask_bits != nullptr) continue;
      w.FillRanked(facts_.ranks(plan.base(), plan.models()[s], run.tensor), term, run.first, run.count, s);
    }
  }
  const DType dtype = TypeOf(run);
  bool finite = true;
  const auto load = [&](int model, int64_t at, int64_t n, float* to) {
    const FloatTensor& tensor = sources_->tensor(model, run.tensor);
    LoadBlock(tensor, run.first + at, n, to);
    // A mask may drop what is not finite, so the result does not tell.
    if (options_.one_shot) finite &= FirstNonFinite(tensor, run.first + at, n) < 0;
  };
  for (int64_t at = 0; at < run.count; at += options_.block_elements) {
    const int64_t n = std::min(options_.block_elements, run.count - at);
    if (plan.base() >= 0) load(plan.base(), at, n, w.base);
    for (size_t s = 0; s < slots; ++s) load(plan.models()[s], at, n, w.sources[s]);
    if (ranked) w.PointToBlock(at);
    const MergeBlock block{run.first + at,
                           n,
                           plan.base() >= 0 ? w.base : nullptr,
                           w.sources.data(),
                           w.scratch,
                           w.words.data(),
                           ranked ? w.kept.data() : nullptr,
                           ranked ? w.ranks.data() : nullptr};
    plan.method()->Merge(terms, block, w.merged);
    finite &= StoreBlock(dtype, w.merged, n, out + at * SizeOf(dtype));
  }
  return finite;
}

bool Materializer::CopyRun(const MergePlan& plan, const TensorRun& run, Workspace& w, std::byte* out) const {
  const FloatTensor& tensor = sources_->tensor(plan.models()[0], run.tensor);
  const DType dtype = TypeOf(run);
  const int64_t size = SizeOf(dtype);
  bool finite = !options_.one_shot || FirstNonFinite(tensor, run.first, run.count) < 0;
  if (tensor.dtype == dtype) {
    std::memcpy(out, tensor.data + run.first * size, run.count * size);
    return finite;
  }
  for (int64_t at = 0; at < run.count; at += options_.block_elements) {
    const int64_t n = std::min(options_.block_elements, run.count - at);
    LoadBlock(tensor, run.first + at, n, w.merged);
    finite &= StoreBlock(dtype, w.merged, n, out + at * size);
  }
  return finite;
}

absl::Status Materializer::CheckSources(const MergePlan& plan) const {
  if (plan.sources() == sources_) return absl::OkStatus();
  return absl::InvalidArgumentError("the plan was built for the sources of another materializer");
}

absl::Status Materializer::Run(const MergePlan& plan, Arena& arena, std::stop_token stop) {
  MG_RETURN_IF_ERROR(CheckSources(plan));
  if (arena.layout().tensors() != sources_->layout().tensors()) {
    return absl::InvalidArgumentError("the arena's layout is not that of the sources");
  }
  if (plan.method() != nullptr && plan.arithmetic() == Arithmetic::kMergekit) {
    if (options_.one_shot) MG_RETURN_IF_ERROR(CheckSourcesFinite());
    return RunLikeMergekit(plan, arena, stop);
  }
  RunsInArena sink(runs_, arena);
  return Stream(plan, sink, std::move(stop));
}

absl::Status Materializer::Stream(const MergePlan& plan, RunSink& sink, std::stop_token stop) {
  MG_RETURN_IF_ERROR(CheckSources(plan));
  if (plan.method() != nullptr && plan.arithmetic() == Arithmetic::kMergekit) {
    return absl::InvalidArgumentError("mergekit's arithmetic merges whole tensors, not one run after the other");
  }
  absl::Status status = StreamChecked(plan, sink, stop);
  // What is not finite in a source is to be blamed first, whatever came of it.
  if (options_.one_shot && !status.ok() && !absl::IsCancelled(status)) MG_RETURN_IF_ERROR(CheckSourcesFinite());
  return status;
}

absl::Status Materializer::StreamChecked(const MergePlan& plan, RunSink& sink, const std::stop_token& stop) {
  if (plan.method() != nullptr) MG_RETURN_IF_ERROR(Resolve(plan, stop).status());
  std::atomic<int64_t> first_bad = INT64_MAX;
  std::atomic<bool> unwanted = false;
  pool_.For(static_cast<int64_t>(runs_.size()), [&](int thread, int64_t r) {
    if (stop.stop_requested()) return;
    std::byte* const out = sink.Room(r);
    if (out == nullptr) {
      unwanted = true;
    } else if (ComputeRun(plan, runs_[r], workspaces_[thread], out)) {
      sink.Put(r, runs_[r].count * SizeOf(TypeOf(runs_[r])));
    } else {
      AtomicMin(first_bad, r);
      sink.Fail(r);
    }
  });
  if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
  if (first_bad != INT64_MAX) {
    if (options_.one_shot) MG_RETURN_IF_ERROR(CheckSourcesFinite());
    const TensorRun& run = runs_[first_bad];
    std::vector<std::byte> merged(run.count * SizeOf(TypeOf(run)));
    ComputeRun(plan, run, workspaces_[0], merged.data());
    return DescribeNonFinite(plan, run, merged.data());
  }
  return unwanted ? absl::CancelledError("nobody takes the merge's results") : absl::OkStatus();
}

absl::StatusOr<const CandidateTerms*> Materializer::Resolve(const MergePlan& plan, std::stop_token stop) {
  facts_.Prepare(plan);
  MG_RETURN_IF_ERROR(terms_.Resolve(plan, facts_, options_.block_elements, pool_, workspaces_, stop));
  return &terms_;
}

absl::Status Materializer::RunLikeMergekit(const MergePlan& plan, Arena& arena, const std::stop_token& stop) {
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  // The one stream of random numbers, cut where each tensor's begin, so that tensors can be merged side by side.
  std::vector<TorchRandom> streams = plan.streams();
  if (streams.empty()) {
    std::vector<int> by_name(tensors.size());
    std::iota(by_name.begin(), by_name.end(), 0);
    std::sort(by_name.begin(), by_name.end(), [&](int a, int b) { return tensors[a].name < tensors[b].name; });
    TorchRandom random(plan.mask_seed());
    streams.assign(tensors.size(), random);
    for (const int t : by_name) {
      streams[t] = random;
      random.Skip(DrawsOf(*plan.method(), plan.settings(t), tensors[t].NumElements()));
    }
  }
  std::vector<absl::Status> failures(tensors.size());
  pool_.For(static_cast<int64_t>(tensors.size()), [&](int, int64_t i) {
    if (stop.stop_requested()) return;
    const int t = static_cast<int>(i);
    const int64_t count = tensors[t].NumElements();
    const Rounded type(tensors[t].dtype);
    const auto load = [&](int model) {
      RoundedValues values(count);
      LoadBlock(sources_->tensor(model, t), 0, count, values.data());
      type.All(values);
      return values;
    };
    MergekitInput input{tensors[t].shape, plan.base() >= 0, {}, {}};
    if (plan.base() >= 0) input.base = load(plan.base());
    for (const int model : plan.models()) input.sources.push_back(load(model));
    absl::StatusOr<RoundedValues> merged =
        MergeLikeMergekit(*plan.method(), plan.settings(t), std::move(input), type, streams[t]);
    if (!merged.ok()) {
      failures[t] = Annotate(merged.status(), absl::StrCat("tensor '", tensors[t].name, "'"));
    } else if (!StoreBlock(tensors[t].dtype, merged->data(), count, arena.data(t))) {
      failures[t] = DescribeNonFinite(plan, {t, 0, count}, arena.data(t));
    }
  });
  if (stop.stop_requested()) return absl::CancelledError("the merge was cancelled");
  for (const absl::Status& failure : failures) MG_RETURN_IF_ERROR(failure);
  return absl::OkStatus();
}

absl::Status Materializer::DescribeNonFinite(const MergePlan& plan, const TensorRun& run, const std::byte* merged) const {
  const ArenaTensor& spec = sources_->layout().tensors()[run.tensor];
  const FloatTensor values{spec.dtype, merged, run.count};
  const int64_t in_run = FirstNonFinite(values, 0, run.count), index = run.first + in_run;
  float value;
  LoadBlock(values, in_run, 1, &value);
  std::string message = absl::StrCat("tensor '", spec.name, "': the merged value at index ", index, " is ", value, " in ",
                                     Name(spec.dtype), "; the models hold");
  const auto add = [&](int model) {
    LoadBlock(sources_->tensor(model, run.tensor), index, 1, &value);
    absl::StrAppend(&message, " ", value, " (", sources_->names()[model], ")");
  };
  if (plan.base() >= 0) add(plan.base());
  for (const int model : plan.models()) add(model);
  return absl::InvalidArgumentError(message);
}

}  // namespace merganser

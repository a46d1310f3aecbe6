#include "worker/merge/source_facts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace merganser {
namespace {

constexpr int64_t kBlock = 4096;

// Variances of the task vectors of `models`, as sce ranks them.
void LoadVariances(const std::vector<FloatTensor>& models, const FloatTensor& base, int64_t first, int64_t count,
                   float* out) {
  std::vector<float> x(models.size() * kBlock);
  std::vector<float*> blocks;
  for (size_t m = 0; m < models.size(); ++m) {
    blocks.push_back(x.data() + m * kBlock);
    LoadDifference(base, models[m], first, count, blocks[m]);
  }
  Variance(blocks.data(), static_cast<int>(models.size()), count, out);
}

// A run of vectors (or slabs) of one tensor, of about kRunElements.
struct VectorRun {
  int tensor;
  int64_t first;
  int64_t count;
};

void AddVectorRuns(int tensor, int64_t vectors, int64_t length, std::vector<VectorRun>& runs) {
  const int64_t step = std::max<int64_t>(1, kRunElements / std::max<int64_t>(1, length));
  for (int64_t first = 0; first < vectors; first += step) {
    runs.push_back({tensor, first, std::min(step, vectors - first)});
  }
}

}  // namespace

std::vector<TensorRun> RunsOf(const ArenaLayout& layout) {
  std::vector<TensorRun> runs;
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const int64_t elements = layout.tensors()[t].NumElements();
    for (int64_t first = 0; first < elements; first += kRunElements) {
      runs.push_back({static_cast<int>(t), first, std::min(kRunElements, elements - first)});
    }
  }
  return runs;
}

ProductVectors ProductVectorsOf(const MergePlan& plan, int tensor) {
  ProductVectors vectors;
  const MergeSources& sources = *plan.sources();
  if (plan.base() >= 0) {
    const FloatTensor& base = sources.tensor(plan.base(), tensor);
    if (plan.method()->products_of() == ProductsOf::kTaskVectors) {
      vectors.subtract = &base;
    } else {
      vectors.tensors.push_back(base);
    }
  }
  for (const int model : plan.models()) vectors.tensors.push_back(sources.tensor(model, tensor));
  return vectors;
}

SourceFacts::SourceFacts(std::shared_ptr<const MergeSources> sources, ThreadPool& pool, int64_t bytes_max, bool one_shot)
    : sources_(std::move(sources)),
      pool_(pool),
      bytes_max_(one_shot ? 0 : bytes_max),
      one_shot_(one_shot),
      runs_(RunsOf(sources_->layout())) {}

void SourceFacts::Prepare(const MergePlan& plan) {
  if (plan.method() == nullptr) return;
  using Statistic = MergeMethod::Statistic;
  const Statistic statistic = plan.method()->statistic();
  for (const int model : plan.models()) {
    if (!one_shot_ && (statistic == Statistic::kMagnitudeCut || statistic == Statistic::kMagnitudeBand)) {
      PrepareMagnitudes(plan.base(), model);
    }
    if (statistic == Statistic::kRankedMask) PrepareRanks(plan.base(), model);
    if (statistic == Statistic::kFusion) PrepareFusion(plan.base(), model);
    if (plan.rescales() && !one_shot_) PrepareL1(plan.base(), model);
  }
  if (statistic == Statistic::kVarianceCut) PrepareVariances(plan);
  if (statistic == Statistic::kOverlapCounts) PrepareOverlaps(plan);
  if (statistic == Statistic::kProducts) PrepareProducts(plan);
}

std::vector<int> SourceFacts::BySize() const {
  std::vector<int> by_size(sources_->layout().tensors().size());
  std::iota(by_size.begin(), by_size.end(), 0);
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](int a, int b) { return sources_->tensor(0, a).count < sources_->tensor(0, b).count; });
  return by_size;
}

void SourceFacts::PrepareMagnitudes(int base, int model) {
  PairFacts& facts = pairs_[{base, model}];
  if (!facts.magnitudes.empty()) return;
  // Smallest tensors first: the bound then buys orders for as many as it can.
  const std::vector<int> by_size = BySize();
  const int tensors = static_cast<int>(by_size.size());
  std::vector<bool> whole_order(tensors);
  for (const int t : by_size) {
    const int64_t bytes = MagnitudeIndex::OrderBytes(sources_->tensor(base, t).count);
    if (bytes >= (int64_t{1} << 34) || bytes_ + bytes > bytes_max_) break;
    bytes_ += bytes;
    whole_order[t] = true;
  }
  facts.magnitudes.resize(tensors);
  pool_.For(tensors, [&](int, int64_t i) {
    const int t = by_size[tensors - 1 - i];  // the largest first, for balance
    const FloatTensor& from = sources_->tensor(base, t);
    const FloatTensor& to = sources_->tensor(model, t);
    facts.magnitudes[t] = whole_order[t] ? MagnitudeIndex::BuildOrder(from, to) : MagnitudeIndex::BuildHistogram(from, to);
  });
}

void SourceFacts::PrepareL1(int base, int model) {
  PairFacts& facts = pairs_[{base, model}];
  if (!facts.l1.empty()) return;
  std::vector<double> partial(runs_.size());
  pool_.For(static_cast<int64_t>(runs_.size()), [&](int, int64_t r) {
    const TensorRun& run = runs_[r];
    float x[kBlock];
    L1Lanes lanes{};
    for (int64_t at = 0; at < run.count; at += kBlock) {
      const int64_t n = std::min(kBlock, run.count - at);
      LoadDifference(sources_->tensor(base, run.tensor), sources_->tensor(model, run.tensor), run.first + at, n, x);
      AddL1(x, n, lanes);
    }
    partial[r] = Total(lanes);
  });
  facts.l1.resize(sources_->layout().tensors().size());
  for (size_t r = 0; r < runs_.size(); ++r) facts.l1[runs_[r].tensor] += partial[r];
}

void SourceFacts::PrepareRanks(int base, int model) {
  PairFacts& facts = pairs_[{base, model}];
  if (!facts.ranks.empty()) return;
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  facts.ranks.resize(tensors.size());
  std::vector<VectorRun> runs;
  for (const int t : BySize()) {
    facts.ranks[t] = RowRanks(sources_->tensor(base, t), sources_->tensor(model, t), tensors[t].shape);
    RowRanks& ranks = facts.ranks[t];
    if (bytes_ + ranks.StoredBytes() > bytes_max_) continue;
    bytes_ += ranks.StoredBytes();
    ranks.MakeRoom();
    AddVectorRuns(t, ranks.elements() / ranks.slab(), ranks.slab(), runs);
  }
  std::vector<RowRanks::Scratch> scratch(pool_.threads());
  pool_.For(static_cast<int64_t>(runs.size()), [&](int thread, int64_t r) {
    facts.ranks[runs[r].tensor].Store(runs[r].first, runs[r].count, scratch[thread]);
  });
}

void SourceFacts::PrepareFusion(int base, int model) {
  PairFacts& facts = pairs_[{base, model}];
  if (!facts.fusion.empty()) return;
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  facts.fusion.resize(tensors.size());
  std::vector<VectorRun> runs;
  for (size_t t = 0; t < tensors.size(); ++t) {
    FusionScores& fusion = facts.fusion[t];
    fusion.rows = VectorShape::For(VectorScope::kLastDimension, tensors[t].shape);
    if (fusion.rows.length == 0) continue;
    fusion.divergence.resize(fusion.rows.vectors);
    AddVectorRuns(static_cast<int>(t), fusion.rows.vectors, fusion.rows.length, runs);
  }
  pool_.For(static_cast<int64_t>(runs.size()), [&](int, int64_t r) {
    const VectorRun& run = runs[r];
    FusionScores& fusion = facts.fusion[run.tensor];
    FusionScores::Divergence(sources_->tensor(base, run.tensor), sources_->tensor(model, run.tensor), fusion.rows, run.first,
                             run.count, fusion.divergence.data());
  });
  pool_.For(static_cast<int64_t>(tensors.size()), [&](int, int64_t t) {
    const int tensor = static_cast<int>(t);
    facts.fusion[t].FindThreshold(sources_->tensor(base, tensor), sources_->tensor(model, tensor));
  });
}

void SourceFacts::PrepareVariances(const MergePlan& plan) {
  GroupFacts& facts = groups_[{plan.base(), plan.models()}];
  if (!facts.variances.empty()) return;
  const std::vector<int> by_size = BySize();
  const int tensors = static_cast<int>(by_size.size());
  facts.variances.resize(tensors);
  pool_.For(tensors, [&](int, int64_t i) {
    const int t = by_size[tensors - 1 - i];
    // Owned by the index, which outlives the plan.
    std::vector<FloatTensor> models;
    for (const int model : plan.models()) models.push_back(sources_->tensor(model, t));
    const FloatTensor base = sources_->tensor(plan.base(), t);
    facts.variances[t] = MagnitudeIndex::BuildHistogram(
        base.count,
        [models, base](int64_t first, int64_t count, float* out) { LoadVariances(models, base, first, count, out); });
  });
}

void SourceFacts::PrepareOverlaps(const MergePlan& plan) {
  GroupFacts& facts = groups_[{plan.base(), plan.models()}];
  const int tensors = static_cast<int>(sources_->layout().tensors().size());
  const int models = static_cast<int>(plan.models().size());
  facts.overlaps.resize(tensors);
  std::vector<bool> wanted(tensors);
  for (int t = 0; t < tensors; ++t) {
    const double epsilon = plan.settings(t).Get("epsilon");
    if (facts.overlaps[t].epsilon == epsilon) continue;
    wanted[t] = true;
    facts.overlaps[t] = {epsilon, std::vector<int64_t>(models), std::vector<int64_t>(models)};
  }
  std::vector<int64_t> partial(runs_.size() * models * 2);
  pool_.For(static_cast<int64_t>(runs_.size()), [&](int, int64_t r) {
    const TensorRun& run = runs_[r];
    if (!wanted[run.tensor]) return;
    const float epsilon = static_cast<float>(facts.overlaps[run.tensor].epsilon);
    int64_t* own = partial.data() + r * models * 2;
    int64_t* shared = own + models;
    std::vector<float> x(models * kBlock);
    for (int64_t at = 0; at < run.count; at += kBlock) {
      const int64_t n = std::min(kBlock, run.count - at);
      for (int m = 0; m < models; ++m) {
        LoadDifference(sources_->tensor(plan.base(), run.tensor), sources_->tensor(plan.models()[m], run.tensor),
                       run.first + at, n, x.data() + m * kBlock);
      }
      for (int64_t i = 0; i < n; ++i) {
        int having = 0;
        for (int m = 0; m < models; ++m) having += std::fabs(x[m * kBlock + i]) > epsilon;
        if (having == 0) continue;
        int64_t* counts = having == 1 ? own : shared;
        for (int m = 0; m < models; ++m) counts[m] += std::fabs(x[m * kBlock + i]) > epsilon;
      }
    }
  });
  for (size_t r = 0; r < runs_.size(); ++r) {
    if (!wanted[runs_[r].tensor]) continue;
    OverlapCounts& counts = facts.overlaps[runs_[r].tensor];
    for (int m = 0; m < models; ++m) {
      counts.own[m] += partial[r * models * 2 + m];
      counts.shared[m] += partial[r * models * 2 + models + m];
    }
  }
}

void SourceFacts::PrepareProducts(const MergePlan& plan) {
  GroupFacts& facts = groups_[{plan.base(), plan.models()}];
  const ProductsOf of = plan.method()->products_of();
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  const int tensor_count = static_cast<int>(tensors.size());
  std::vector<VectorShape> shapes(tensor_count);
  std::vector<std::vector<double>*> sums(tensor_count);  // null: known already
  std::vector<ProductVectors> vectors(tensor_count);
  std::vector<VectorRun> runs;
  int size = 0;  // of a triangle
  for (int t = 0; t < tensor_count; ++t) {
    const VectorScope scope = plan.method()->vector_scope(plan.settings(t));
    std::vector<std::vector<double>>& known = facts.products[{of, scope}];
    known.resize(tensor_count);
    if (!known[t].empty()) continue;
    shapes[t] = VectorShape::For(scope, tensors[t].shape);
    vectors[t] = ProductVectorsOf(plan, t);
    size = Products::Size(static_cast<int>(vectors[t].tensors.size()));
    known[t].resize(std::max<int64_t>(1, shapes[t].vectors) * size);
    sums[t] = &known[t];
    if (shapes[t].scope != VectorScope::kTensor) AddVectorRuns(t, shapes[t].vectors, shapes[t].length, runs);
  }
  if (size == 0) return;
  std::vector<std::vector<float>> scratch(pool_.threads());
  for (std::vector<float>& own : scratch) own.resize((plan.models().size() + 2) * kProductBlock);
  pool_.For(static_cast<int64_t>(runs.size()), [&](int thread, int64_t r) {
    const VectorRun& run = runs[r];
    VectorProducts(vectors[run.tensor].tensors, vectors[run.tensor].subtract, shapes[run.tensor], run.first, run.count,
                   scratch[thread].data(), sums[run.tensor]->data() + run.first * size);
  });
  // Whole tensors: run by run, added up in order.
  std::vector<double> partial(runs_.size() * size);
  const auto whole = [&](int t) { return sums[t] != nullptr && shapes[t].scope == VectorScope::kTensor; };
  pool_.For(static_cast<int64_t>(runs_.size()), [&](int thread, int64_t r) {
    const TensorRun& run = runs_[r];
    if (!whole(run.tensor)) return;
    AddProducts(vectors[run.tensor].tensors, vectors[run.tensor].subtract, run.first, run.count, scratch[thread].data(),
                partial.data() + r * size);
  });
  for (size_t r = 0; r < runs_.size(); ++r) {
    if (!whole(runs_[r].tensor)) continue;
    for (int i = 0; i < size; ++i) (*sums[runs_[r].tensor])[i] += partial[r * size + i];
  }
}

const std::vector<double>& SourceFacts::products(const MergePlan& plan, int tensor) const {
  const VectorScope scope = plan.method()->vector_scope(plan.settings(tensor));
  return Of(plan).products.find({plan.method()->products_of(), scope})->second[tensor];
}

}  // namespace merganser

#include "worker/merge/candidate_terms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/merge/cut_search.h"
#include "worker/merge/masked_bf16.h"
#include "worker/merge/methods/task_vectors.h"
#include "worker/merge/prefetch.h"

namespace merganser {
namespace {

using Statistic = MergeMethod::Statistic;

constexpr double kL1Min = 1e-7;      // mergekit's bound; norms below it are not rescaled
constexpr double kEnergyMin = 1e-6;  // mergekit's bound; below it sce's weights are all the same

// How many of the largest magnitudes a cut keeps, and how many of them are outliers after all.
struct KeptCounts {
  int64_t all = 0;
  int64_t outliers = 0;
};

// For kMagnitudeCut and kMagnitudeBand.
KeptCounts KeptOf(Statistic statistic, const MergeSettings& settings, int slot, int64_t count) {
  const double density = settings.densities[slot];
  if (statistic == Statistic::kMagnitudeCut) return {MagnitudeIndex::KeptCount(density, count), 0};
  const int64_t kept = static_cast<int64_t>(density * static_cast<double>(count));
  const int64_t largest = static_cast<int64_t>(settings.Get("gamma", slot) * static_cast<double>(count));
  const int64_t smallest = std::max<int64_t>(0, count - kept - largest);
  return {count - smallest, count - smallest - kept};
}

absl::Status Cancelled() { return absl::CancelledError("the merge was cancelled"); }

}  // namespace

CandidateTerms::CandidateTerms(std::shared_ptr<const MergeSources> sources, int64_t mask_bytes_max)
    : sources_(std::move(sources)),
      slots_(sources_->names().size()),
      runs_(RunsOf(sources_->layout())),
      mask_bytes_max_(mask_bytes_max) {
  const size_t tensors = sources_->layout().tensors().size();
  terms_.resize(tensors * slots_);
  whole_.resize(tensors);
  cut_requests_.reserve(terms_.size());
  partial_sums_.resize(runs_.size() * slots_);
  whole_sums_.resize(runs_.size() * slots_);
  coefficients_.resize(tensors);
}

TensorTerms CandidateTerms::Of(int tensor) const {
  const WholeTerm& whole = whole_[tensor];
  return {absl::MakeConstSpan(&term(tensor, 0), used_),
          whole.settings,
          static_cast<float>(whole.settings->lambda),
          whole.settings->normalize,
          whole.base_weight,
          whole.vectors,
          whole.cut,
          whole.threshold};
}

absl::Status CandidateTerms::Resolve(const MergePlan& plan, const SourceFacts& facts, int64_t block_elements,
                                     ThreadPool& pool, std::vector<Workspace>& workspaces, std::stop_token stop) {
  used_ = plan.models().size();
  SetTerms(plan, facts);
  if (plan.method()->statistic() == Statistic::kProducts) MG_RETURN_IF_ERROR(FindCoefficients(plan, facts));
  if (facts.one_shot()) SearchCutsNow(plan, pool, stop);
  FindCuts(plan, facts, pool, workspaces, stop);
  if (stop.stop_requested()) return Cancelled();
  if (plan.method()->statistic() == Statistic::kVarianceCut) FindEnergies(plan, block_elements, pool, workspaces, stop);
  if (plan.rescales()) FindScales(plan, facts, block_elements, pool, workspaces, stop);
  return stop.stop_requested() ? Cancelled() : absl::OkStatus();
}

void CandidateTerms::SetTerms(const MergePlan& plan, const SourceFacts& facts) {
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  const Statistic statistic = plan.method()->statistic();
  for (int t = 0; t < static_cast<int>(tensors.size()); ++t) {
    const MergeSettings& settings = plan.settings(t);
    WholeTerm& whole = whole_[t];
    whole = WholeTerm{&settings};
    for (int s = 0; s < static_cast<int>(used_); ++s) {
      const int model = plan.models()[s];
      const double density = settings.densities[s];
      SourceTerm& term = this->term(t, s);
      term = SourceTerm{};
      term.weight = static_cast<float>(settings.weights[s]);
      if (plan.method()->random()) {
        term.mask = MaskStream::For(plan.mask_seed(), sources_->names()[model], tensors[t].name);
      }
      if (statistic == Statistic::kRandomMask) {
        term.mask_rule = MaskRule::For(density);
        if (settings.rescale_by_density && density > 0) term.kept_scale = static_cast<float>(1 / density);
      } else if (statistic == Statistic::kRankedMask) {
        term.ranked = RankedMask::For(density, settings.Get("epsilon", s), facts.ranks(plan.base(), model, t).row(),
                                      settings.rescale_by_density);
      } else if (statistic == Statistic::kOverlapCounts) {
        const OverlapCounts& counts = facts.overlaps(plan, t);
        const double share =
            static_cast<double>(counts.shared[s]) / std::max(static_cast<double>(counts.own[s]), settings.Get("epsilon"));
        term.weight = static_cast<float>(1 + settings.Get("r") * std::clamp(share, 0.0, settings.Get("alpha")));
      } else if (statistic == Statistic::kFusion) {
        const FusionScores& fusion = facts.fusion(plan.base(), model, t);
        term.row_factors = fusion.divergence.data();
        whole.vectors = fusion.rows;
        whole.threshold = fusion.threshold;
      }
    }
  }
}

absl::Status CandidateTerms::FindCoefficients(const MergePlan& plan, const SourceFacts& facts) {
  const std::vector<ArenaTensor>& tensors = sources_->layout().tensors();
  const bool models = plan.method()->products_of() == ProductsOf::kModels && plan.base() >= 0;
  const int n = static_cast<int>(used_) + (models ? 1 : 0);
  std::vector<double> own(n);
  for (int t = 0; t < static_cast<int>(tensors.size()); ++t) {
    const MergeSettings& settings = plan.settings(t);
    WholeTerm& whole = whole_[t];
    whole.vectors = VectorShape::For(plan.method()->vector_scope(settings), tensors[t].shape);
    const std::vector<double>& products = facts.products(plan, t);
    std::vector<float>& each = coefficients_[t];
    const int64_t vectors = whole.vectors.vectors;
    each.resize(vectors * used_);
    for (int64_t v = 0; v < vectors; ++v) {
      const absl::Status combined = plan.method()->Combine(settings, {n, products.data() + v * Products::Size(n)},
                                                           plan.base() >= 0, absl::MakeSpan(own));
      if (!combined.ok()) return Annotate(combined, absl::StrCat("tensor '", tensors[t].name, "'"));
      if (models) whole.base_weight = static_cast<float>(own[0]);
      for (size_t s = 0; s < used_; ++s) each[s * vectors + v] = static_cast<float>(own[s + (models ? 1 : 0)]);
    }
    for (size_t s = 0; s < used_; ++s) {
      SourceTerm& term = this->term(t, static_cast<int>(s));
      term.weight = each[s * vectors];
      term.vector_coefficients = each.data() + s * vectors;
    }
  }
  return absl::OkStatus();
}

void CandidateTerms::SearchCutsNow(const MergePlan& plan, ThreadPool& pool, const std::stop_token& stop) {
  const Statistic statistic = plan.method()->statistic();
  if (statistic != Statistic::kMagnitudeCut && statistic != Statistic::kMagnitudeBand) return;
  std::vector<CutQuery> queries;
  for (int t = 0; t < static_cast<int>(whole_.size()); ++t) {
    const FloatTensor& base = sources_->tensor(plan.base(), t);
    for (int s = 0; s < static_cast<int>(used_); ++s) {
      if (plan.settings(t).densities[s] >= 1) continue;
      const FloatTensor& source = sources_->tensor(plan.models()[s], t);
      const KeptCounts kept = KeptOf(statistic, plan.settings(t), s, base.count);
      queries.push_back({&base, &source, kept.all, &term(t, s).cut});
      if (statistic == Statistic::kMagnitudeBand) queries.push_back({&base, &source, kept.outliers, &term(t, s).outliers});
    }
  }
  SearchCuts(queries, pool, stop);
}

void CandidateTerms::FindCuts(const MergePlan& plan, const SourceFacts& facts, ThreadPool& pool,
                              std::vector<Workspace>& workspaces, const std::stop_token& stop) {
  const Statistic statistic = plan.method()->statistic();
  cut_requests_.clear();
  for (int t = 0; t < static_cast<int>(whole_.size()); ++t) {
    const MergeSettings& settings = plan.settings(t);
    if (statistic == Statistic::kVarianceCut && settings.Get("select_topk") < 1) cut_requests_.push_back({t, -1});
    if (facts.one_shot() || (statistic != Statistic::kMagnitudeCut && statistic != Statistic::kMagnitudeBand)) continue;
    for (int s = 0; s < static_cast<int>(used_); ++s) {
      if (settings.densities[s] < 1) cut_requests_.push_back({t, s});
    }
  }
  pool.For(static_cast<int64_t>(cut_requests_.size()), [&](int thread, int64_t i) {
    if (stop.stop_requested()) return;
    const auto [tensor, slot] = cut_requests_[i];
    const MergeSettings& settings = plan.settings(tensor);
    MagnitudeIndex::Scratch& scratch = workspaces[thread].magnitude_scratch;
    if (slot < 0) {
      const MagnitudeIndex& index = facts.variances(plan, tensor);
      // In fp32, as mergekit multiplies: with 0.29 of 100 it keeps 29.
      const float kept = static_cast<float>(settings.Get("select_topk")) * static_cast<float>(index.nonzero());
      whole_[tensor].cut = index.Cut(std::min(static_cast<int64_t>(kept), index.nonzero()), scratch);
      return;
    }
    const MagnitudeIndex& index = facts.magnitudes(plan.base(), plan.models()[slot], tensor);
    SourceTerm& term = this->term(tensor, slot);
    const KeptCounts kept = KeptOf(statistic, settings, slot, index.count());
    term.cut = index.Cut(kept.all, scratch);
    if (statistic == Statistic::kMagnitudeBand) term.outliers = index.Cut(kept.outliers, scratch);
  });
}

bool CandidateTerms::Rescaled(const MergePlan& plan, int tensor, int slot) const {
  const MergeSettings& settings = plan.settings(tensor);
  // What none of the words keeps has no norm to rescale.
  return settings.rescale && !settings.rescale_by_density && settings.densities[slot] < 1 && settings.densities[slot] > 0 &&
         term(tensor, slot).mask_rule.kind != MaskRule::Kind::kNone;
}

void CandidateTerms::MakeRoomForMasks(const MergePlan& plan) {
  mask_at_.assign(whole_.size() * used_, -1);
  if (!plan.method()->random()) return;
  int64_t bytes = 0;
  for (size_t t = 0; t < whole_.size(); ++t) {
    for (size_t s = 0; s < used_; ++s) {
      if (!Rescaled(plan, static_cast<int>(t), static_cast<int>(s))) continue;
      constexpr int64_t kFill = MaskStream::kFillWords;
      const int64_t own = (sources_->layout().tensors()[t].NumElements() + kFill - 1) / kFill * (kFill / 8);
      if (bytes + own > mask_bytes_max_) continue;
      mask_at_[t * used_ + s] = bytes;
      bytes += own;
    }
  }
  if (static_cast<int64_t>(mask_bits_.size()) < bytes) mask_bits_.resize(bytes);
}

void CandidateTerms::SumRun(const MergePlan& plan, const SourceFacts& facts, size_t r, int64_t block_elements,
                            Workspace& w) {
  const TensorRun& run = runs_[r];
  std::vector<int> slots;
  for (int s = 0; s < static_cast<int>(used_); ++s) {
    if (Rescaled(plan, run.tensor, s)) slots.push_back(s);
  }
  if (slots.empty()) return;
  std::vector<L1Lanes> kept(used_), whole(used_);
  const bool ranked = plan.method()->statistic() == Statistic::kRankedMask;
  if (ranked) w.MakeRoomForRanked(used_);
  for (const int s : slots) {
    if (!ranked) break;
    w.FillRanked(facts.ranks(plan.base(), plan.models()[s], run.tensor), term(run.tensor, s), run.first, run.count, s);
  }
  // Leaves a mask's bits for the merge, if there is room.
  const auto keep_mask = [&](int slot, int64_t first, int64_t count, const uint8_t* bits) {
    const int64_t mask_at = mask_at_[static_cast<size_t>(run.tensor) * used_ + static_cast<size_t>(slot)];
    if (mask_at >= 0) std::memcpy(mask_bits_.data() + mask_at + first / 8, bits, static_cast<size_t>(count + 7) / 8);
  };
  const FloatTensor& base = sources_->tensor(plan.base(), run.tensor);
  for (int64_t at = 0; at < run.count; at += block_elements) {
    const int64_t first = run.first + at, n = std::min(block_elements, run.count - at);
    bool base_loaded = false;
    Prefetch(base, first + n, block_elements);
    if (ranked) w.PointToBlock(at);
    for (const int s : slots) {
      const SourceTerm& term = this->term(run.tensor, s);
      const FloatTensor& source = sources_->tensor(plan.models()[s], run.tensor);
      Prefetch(source, first + n, block_elements);
      if (HasMaskedBF16() && base.dtype == DType::kBF16 && source.dtype == DType::kBF16) {
        if (const uint8_t* bits = MaskBits(term, ranked ? w.kept[s] : nullptr, first, n, w.words.data()); bits != nullptr) {
          AddMaskedL1BF16(source.data + 2 * first, base.data + 2 * first, bits, n, facts.one_shot() ? &whole[s] : nullptr,
                          kept[s]);
          keep_mask(s, first, n, bits);
          continue;
        }
      }
      if (!std::exchange(base_loaded, true)) LoadBlock(base, first, n, w.base);
      LoadBlock(source, first, n, w.merged);
      if (const uint8_t* bits = MaskBits(term, ranked ? w.kept[s] : nullptr, first, n, w.words.data()); bits != nullptr) {
        AddMaskedL1(w.merged, w.base, bits, n, whole[s], kept[s]);
        keep_mask(s, first, n, bits);
        continue;
      }
      if (facts.one_shot()) {
        std::copy(w.merged, w.merged + n, w.scratch);
        Subtract(w.base, n, w.scratch);
        AddL1(w.scratch, n, whole[s]);
      }
      Thin(term, w.base, nullptr, first, n, w.words.data(), w.merged);
      AddL1(w.merged, n, kept[s]);
    }
  }
  for (const int s : slots) {
    partial_sums_[r * used_ + s] = Total(kept[s]);
    whole_sums_[r * used_ + s] = Total(whole[s]);
  }
}

void CandidateTerms::FindScales(const MergePlan& plan, const SourceFacts& facts, int64_t block_elements, ThreadPool& pool,
                                std::vector<Workspace>& workspaces, const std::stop_token& stop) {
  MakeRoomForMasks(plan);
  pool.For(static_cast<int64_t>(runs_.size()), [&](int thread, int64_t r) {
    if (!stop.stop_requested()) SumRun(plan, facts, static_cast<size_t>(r), block_elements, workspaces[thread]);
  });
  if (stop.stop_requested()) return;
  for (int s = 0; s < static_cast<int>(used_); ++s) {
    for (size_t r = 0; r < runs_.size();) {
      const int tensor = runs_[r].tensor;
      double kept = 0, whole = 0;
      for (; r < runs_.size() && runs_[r].tensor == tensor; ++r) {
        kept += partial_sums_[r * used_ + s];
        whole += whole_sums_[r * used_ + s];
      }
      if (!Rescaled(plan, tensor, s)) continue;
      if (!facts.one_shot()) whole = facts.l1(plan.base(), plan.models()[s], tensor);
      if (whole >= kL1Min && kept >= kL1Min) term(tensor, s).kept_scale = static_cast<float>(whole / kept);
      const int64_t mask_at = mask_at_[tensor * used_ + s];
      if (mask_at >= 0) term(tensor, s).mask_bits = mask_bits_.data() + mask_at;
    }
  }
}

void CandidateTerms::FindEnergies(const MergePlan& plan, int64_t block_elements, ThreadPool& pool,
                                  std::vector<Workspace>& workspaces, const std::stop_token& stop) {
  const int sources = static_cast<int>(used_);
  pool.For(static_cast<int64_t>(runs_.size()), [&](int thread, int64_t r) {
    if (stop.stop_requested()) return;
    const TensorRun& run = runs_[r];
    Workspace& w = workspaces[thread];
    std::vector<L1Lanes> lanes(sources);
    for (int64_t at = 0; at < run.count; at += block_elements) {
      const int64_t n = std::min(block_elements, run.count - at);
      LoadBlock(sources_->tensor(plan.base(), run.tensor), run.first + at, n, w.base);
      for (int s = 0; s < sources; ++s) {
        LoadBlock(sources_->tensor(plan.models()[s], run.tensor), run.first + at, n, w.sources[s]);
        Subtract(w.base, n, w.sources[s]);
      }
      MaskByVariance(whole_[run.tensor].cut, w.sources.data(), sources, run.first + at, n, w.scratch);
      for (int s = 0; s < sources; ++s) AddSquares(w.sources[s], n, lanes[s]);
    }
    for (int s = 0; s < sources; ++s) partial_sums_[r * used_ + s] = Total(lanes[s]);
  });
  if (stop.stop_requested()) return;
  for (size_t r = 0; r < runs_.size();) {
    const int tensor = runs_[r].tensor;
    std::vector<double> energies(sources);
    double total = 0;
    for (; r < runs_.size() && runs_[r].tensor == tensor; ++r) {
      for (int s = 0; s < sources; ++s) energies[s] += partial_sums_[r * used_ + s];
    }
    const double count = static_cast<double>(sources_->layout().tensors()[tensor].NumElements());
    for (double& energy : energies) total += energy /= count;
    for (int s = 0; s < sources; ++s) {
      term(tensor, s).weight = static_cast<float>(total < kEnergyMin ? 1.0 / sources : energies[s] / total);
    }
  }
}

}  // namespace merganser

#include "worker/merge/candidate_terms.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/merge/methods/task_vectors.h"

namespace merganser {
namespace {

using Statistic = MergeMethod::Statistic;

constexpr double kL1Min = 1e-7;      // mergekit's bound; norms below it are not rescaled
constexpr double kEnergyMin = 1e-6;  // mergekit's bound; below it sce's weights are all the same

absl::Status Cancelled() { return absl::CancelledError("the merge was cancelled"); }

}  // namespace

CandidateTerms::CandidateTerms(std::shared_ptr<const MergeSources> sources)
    : sources_(std::move(sources)), slots_(sources_->names().size()), runs_(RunsOf(sources_->layout())) {
  const size_t tensors = sources_->layout().tensors().size();
  terms_.resize(tensors * slots_);
  whole_.resize(tensors);
  cut_requests_.reserve(terms_.size());
  partial_sums_.resize(runs_.size() * slots_);
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
        const double share = static_cast<double>(counts.shared[s]) /
                             std::max(static_cast<double>(counts.own[s]), settings.Get("epsilon"));
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

void CandidateTerms::FindCuts(const MergePlan& plan, const SourceFacts& facts, ThreadPool& pool,
                              std::vector<Workspace>& workspaces, const std::stop_token& stop) {
  const Statistic statistic = plan.method()->statistic();
  cut_requests_.clear();
  for (int t = 0; t < static_cast<int>(whole_.size()); ++t) {
    const MergeSettings& settings = plan.settings(t);
    if (statistic == Statistic::kVarianceCut && settings.Get("select_topk") < 1) cut_requests_.push_back({t, -1});
    if (statistic != Statistic::kMagnitudeCut && statistic != Statistic::kMagnitudeBand) continue;
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
    if (statistic == Statistic::kMagnitudeCut) {
      term.cut = index.Cut(MagnitudeIndex::KeptCount(settings.densities[slot], index.count()), scratch);
      return;
    }
    const double count = static_cast<double>(index.count());
    const int64_t kept = static_cast<int64_t>(settings.densities[slot] * count);
    const int64_t largest = static_cast<int64_t>(settings.Get("gamma", slot) * count);
    const int64_t smallest = std::max<int64_t>(0, index.count() - kept - largest);
    term.cut = index.Cut(index.count() - smallest, scratch);
    term.outliers = index.Cut(index.count() - smallest - kept, scratch);
  });
}

bool CandidateTerms::Rescaled(const MergePlan& plan, int tensor, int slot) const {
  const MergeSettings& settings = plan.settings(tensor);
  // What none of the words keeps has no norm to rescale.
  return settings.rescale && !settings.rescale_by_density && settings.densities[slot] < 1 &&
         settings.densities[slot] > 0 && term(tensor, slot).mask_rule.kind != MaskRule::Kind::kNone;
}

double CandidateTerms::KeptL1(const MergePlan& plan, const SourceFacts& facts, const TensorRun& run, int slot,
                              int64_t block_elements, Workspace& w) const {
  const int model = plan.models()[slot];
  const SourceTerm& term = this->term(run.tensor, slot);
  const uint32_t* ranks = nullptr;
  if (term.ranked.kind == MaskRule::Kind::kSome) {
    w.MakeRoomForRanks(1);
    facts.ranks(plan.base(), model, run.tensor).Fill(run.first, run.count, w.rank_scratch, w.rank_values.data());
    ranks = w.rank_values.data();
  }
  L1Lanes lanes{};
  for (int64_t at = 0; at < run.count; at += block_elements) {
    const int64_t n = std::min(block_elements, run.count - at);
    LoadBlock(sources_->tensor(plan.base(), run.tensor), run.first + at, n, w.base);
    LoadBlock(sources_->tensor(model, run.tensor), run.first + at, n, w.merged);
    Thin(term, w.base, ranks != nullptr ? ranks + at : nullptr, run.first + at, n, w.words.data(), w.merged);
    AddL1(w.merged, n, lanes);
  }
  return Total(lanes);
}

void CandidateTerms::FindScales(const MergePlan& plan, const SourceFacts& facts, int64_t block_elements, ThreadPool& pool,
                                std::vector<Workspace>& workspaces, const std::stop_token& stop) {
  pool.For(static_cast<int64_t>(runs_.size()), [&](int thread, int64_t r) {
    for (int s = 0; s < static_cast<int>(used_) && !stop.stop_requested(); ++s) {
      if (Rescaled(plan, runs_[r].tensor, s)) {
        partial_sums_[r * used_ + s] = KeptL1(plan, facts, runs_[r], s, block_elements, workspaces[thread]);
      }
    }
  });
  if (stop.stop_requested()) return;
  for (int s = 0; s < static_cast<int>(used_); ++s) {
    for (size_t r = 0; r < runs_.size();) {
      const int tensor = runs_[r].tensor;
      double kept = 0;
      for (; r < runs_.size() && runs_[r].tensor == tensor; ++r) kept += partial_sums_[r * used_ + s];
      if (!Rescaled(plan, tensor, s)) continue;
      const double whole = facts.l1(plan.base(), plan.models()[s], tensor);
      if (whole >= kL1Min && kept >= kL1Min) term(tensor, s).kept_scale = static_cast<float>(whole / kept);
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

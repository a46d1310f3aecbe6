#include "coordinator/optimizer/cma_es.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/box_transform.h"

namespace merganser {
namespace {

// Outcomes older than this mislead more than they teach (the step-size control assumes recent
// steps).
constexpr int64_t kAgeMax = 2;
constexpr double kFlat = 1e-12;  // `cmaes`' tolfun
constexpr int64_t kCountMax = int64_t{1} << 53;
constexpr double kPointMax = 1e150;

bool Transforms(const CmaEsOptions& options) { return options.bounds == CmaEsOptions::Bounds::kTransform; }

}  // namespace

CmaEs::CmaEs(const CmaEsOptions& options, GenomeSpec genome, uint64_t seed)
    : options_(options), genome_(std::move(genome)), seed_(seed), ledger_(genome_.dimension()) {
  for (int i = 0; i < dimension(); ++i) {
    const Gene& gene = genome_.genes[i];
    if (gene.kind == Gene::Kind::kCategorical && options_.discrete == CmaEsOptions::Discrete::kCategorical) {
      categorical_.push_back(i);
      continue;
    }
    gaussian_.push_back(i);
    margin_levels_.push_back(gene.discrete() && options_.discrete != CmaEsOptions::Discrete::kRelaxed ? gene.levels : 0);
  }
  StartRun();
}

void CmaEs::StartRun() {
  population_ =
      static_cast<int>(std::min<int64_t>(CmaEsOptions::kPopulationMax, int64_t{options_.population} << restarts_made_));
  run_start_ = generation_;
  run_best_ = kFailedScore;
  history_.clear();
  collected_.clear();
  const int n = static_cast<int>(gaussian_.size());
  Eigen::VectorXd mean(n), scale(n);
  Rng random(StableHash64("optimizer/cma_es/restart") ^ seed_, static_cast<uint64_t>(restarts_made_));
  for (int i = 0; i < n; ++i) {
    const Gene& gene = genome_.genes[gaussian_[i]];
    const double start = restarts_made_ == 0 ? gene.start : random.Uniform();
    mean[i] = Transforms(options_) && margin_levels_[i] == 0 ? GeneToPoint(start) : start;
    scale[i] = gene.scale;
  }
  if (n > 0) {
    state_.emplace(MakeCmaConstants(options_.variant, n, population_, options_.separable), std::move(mean), scale,
                   options_.sigma0, options_.adaptive_rates);
  }
  std::vector<Gene> genes;
  for (const int i : categorical_) {
    genes.push_back(genome_.genes[i]);
    if (restarts_made_ > 0) genes.back().start = 0.5;
  }
  if (!genes.empty()) categories_.emplace(genes, genome_.discrete_count());
}

Proposal CmaEs::File(const double* gaussian, const std::vector<int>& levels) {
  std::vector<double> genome(dimension()), point(dimension());
  for (size_t i = 0; i < gaussian_.size(); ++i) {
    const Gene& gene = genome_.genes[gaussian_[i]];
    const double x = gaussian[i];
    point[gaussian_[i]] = x;
    genome[gaussian_[i]] = margin_levels_[i] > 0  ? gene.ValueOf(gene.LevelOf(std::clamp(x, 0.0, 1.0)))
                           : Transforms(options_) ? PointToGene(x)
                                                  : x;
  }
  for (size_t i = 0; i < categorical_.size(); ++i) {
    point[categorical_[i]] = genome[categorical_[i]] = genome_.genes[categorical_[i]].ValueOf(levels[i]);
  }
  return ledger_.Add(std::move(genome), generation_, std::move(point));
}

absl::StatusOr<std::vector<Proposal>> CmaEs::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  // A stream per proposal: the id is the whole random state, however many draws the box rejects.
  const uint64_t key = StableHash64("optimizer/cma_es") ^ seed_;
  std::vector<Rng> rngs;
  for (int i = 0; i < count; ++i) rngs.emplace_back(key, static_cast<uint64_t>(ledger_.next_id() + i));

  Eigen::MatrixXd x(static_cast<Eigen::Index>(gaussian_.size()), count);
  if (state_.has_value() && Transforms(options_)) {
    x = state_->DrawMany(absl::MakeSpan(rngs));
  } else if (state_.has_value()) {
    for (int i = 0; i < count; ++i) x.col(i) = state_->DrawInBox(rngs[i], options_.tries);
  }
  std::vector<Proposal> proposals;
  proposals.reserve(count);
  for (int i = 0; i < count; ++i) {
    proposals.push_back(File(x.col(i).data(), categories_.has_value() ? categories_->Draw(rngs[i]) : std::vector<int>()));
  }
  return proposals;
}

Proposal CmaEs::Inject(std::vector<double> genome) {
  return ledger_.Add(std::move(genome), generation_, {}, /*injected=*/true);
}

absl::Status CmaEs::Tell(absl::Span<const Outcome> outcomes) {
  CmaEs next = *this;  // one batch may close several generations: all or nothing
  MG_RETURN_IF_ERROR(next.Learn(outcomes));
  *this = std::move(next);
  return absl::OkStatus();
}

absl::Status CmaEs::Learn(absl::Span<const Outcome> outcomes) {
  MG_ASSIGN_OR_RETURN(std::vector<Told> told, ledger_.Take(outcomes));
  for (Told& one : told) {
    if (generation_ - one.generation > (options_.rolling ? kAgeMax : 0) || one.generation < run_start_) {
      ++ignored_;
      continue;
    }
    collected_.push_back(std::move(one));
    if (static_cast<int>(collected_.size()) == population_) MG_RETURN_IF_ERROR(CloseGeneration());
  }
  return absl::OkStatus();
}

std::vector<double> CmaEs::PointOf(const Told& told) const {
  if (!told.point.empty()) return told.point;
  std::vector<double> point = told.genome;
  for (size_t i = 0; i < gaussian_.size(); ++i) {
    if (Transforms(options_) && margin_levels_[i] == 0) point[gaussian_[i]] = GeneToPoint(point[gaussian_[i]]);
  }
  return point;
}

absl::Status CmaEs::CloseGeneration() {
  std::vector<Told> ranked = std::exchange(collected_, {});
  std::sort(ranked.begin(), ranked.end(), RanksBefore);
  if (ranked[0].score == kFailedScore) {
    ++generations_all_failed_;
    return absl::OkStatus();
  }
  MG_RETURN_IF_ERROR(Annotate(UpdateDistribution(ranked), "cma_es"));
  ++generation_;
  double worst = ranked[0].score;
  for (const Told& one : ranked) {
    if (one.score != kFailedScore) worst = one.score;
  }
  history_.push_back({ranked[0].score, worst});
  if (history_.size() > history_length()) history_.pop_front();
  run_best_ = std::max(run_best_, ranked[0].score);
  if (restarts_made_ < options_.restarts && !RunStopReason().empty()) {
    if (run_best_ > ended_best_) {
      ended_best_ = run_best_;
      ended_mean_ = MeanOfRun();
    }
    ++restarts_made_;
    StartRun();
  }
  return absl::OkStatus();
}

absl::Status CmaEs::UpdateDistribution(const std::vector<Told>& ranked) {
  const Eigen::Index n = static_cast<Eigen::Index>(gaussian_.size());
  Eigen::MatrixXd x(n, population_);
  std::vector<bool> injected;
  std::vector<std::vector<int>> levels(population_);
  for (int i = 0; i < population_; ++i) {
    const std::vector<double> point = PointOf(ranked[i]);
    for (Eigen::Index j = 0; j < n; ++j) x(j, i) = point[gaussian_[j]];
    for (const int gene : categorical_) levels[i].push_back(genome_.genes[gene].LevelOf(std::clamp(point[gene], 0.0, 1.0)));
    injected.push_back(ranked[i].injected || ranked[i].generation != generation_);
  }
  if (state_.has_value()) {
    MG_RETURN_IF_ERROR(state_->Update(x, injected));
    if (std::any_of(margin_levels_.begin(), margin_levels_.end(), [](int l) { return l > 0; })) {
      state_->KeepMargin(margin_levels_, 1.0 / (dimension() * static_cast<double>(population_)));
    }
  }
  if (categories_.has_value()) {
    const CmaConstants k = MakeCmaConstants(options_.variant, dimension(), population_);
    levels.resize(k.parents);
    categories_->Update(levels, {k.weights.data(), static_cast<size_t>(k.parents)});
  }
  return absl::OkStatus();
}

size_t CmaEs::history_length() const {
  return 10 + static_cast<size_t>(std::ceil(30.0 * dimension() / population_));  // as `cmaes`
}

std::vector<double> CmaEs::MeanOfRun() const {
  std::vector<double> mean(dimension());
  for (size_t i = 0; i < gaussian_.size(); ++i) {
    const Gene& gene = genome_.genes[gaussian_[i]];
    const double x = state_->mean()[static_cast<Eigen::Index>(i)];
    // Resampled genomes keep their mean inside but for rounding.
    const double inside = std::clamp(x, 0.0, 1.0);
    mean[gaussian_[i]] = margin_levels_[i] > 0  ? gene.ValueOf(gene.LevelOf(inside))
                         : Transforms(options_) ? PointToGene(x)
                                                : inside;
  }
  if (categories_.has_value()) {
    const std::vector<int> mode = categories_->Mode();
    for (size_t i = 0; i < categorical_.size(); ++i) mean[categorical_[i]] = genome_.genes[categorical_[i]].ValueOf(mode[i]);
  }
  return mean;
}

std::vector<double> CmaEs::Mean() const {
  if (ended_mean_.empty()) return MeanOfRun();
  // A run that has just begun may know a better candidate, but its mean is still anywhere.
  const bool current = run_best_ > ended_best_ && !RunStopReason().empty();
  return current ? MeanOfRun() : ended_mean_;
}

std::string CmaEs::Summary() const {
  std::string text = absl::StrFormat("cma_es: generation %d (%d of %d told)", generation_, collected_.size(), population_);
  if (state_.has_value()) {
    absl::StrAppendFormat(&text, ", sigma %.3g, condition number %.3g", state_->sigma(), state_->condition_number());
  }
  if (state_.has_value() && state_->learning_rates().has_value()) {
    absl::StrAppendFormat(&text, ", learning rates %.3g and %.3g", state_->learning_rates()->mean(),
                          state_->learning_rates()->covariance());
  }
  if (restarts_made_ > 0) absl::StrAppend(&text, ", ", restarts_made_, " restarts");
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  if (generations_all_failed_ > 0) {
    absl::StrAppend(&text, ", ", generations_all_failed_, " generations without any fitness");
  }
  if (ignored_ > 0) absl::StrAppend(&text, ", ", ignored_, " came too late");
  return text;
}

std::string CmaEs::RunStopReason() const {
  if (history_.size() == history_length()) {
    double best = -std::numeric_limits<double>::infinity(), worst = std::numeric_limits<double>::infinity();
    for (const auto& generation : history_) {
      best = std::max(best, generation.best);
      worst = std::min(worst, generation.worst);
    }
    if (best - worst < kFlat) return absl::StrCat("all fitness of ", history_.size(), " generations is equal");
  }
  return state_.has_value() ? state_->StopReason() : "";
}

std::string CmaEs::StopReason() const { return restarts_made_ < options_.restarts ? "" : RunStopReason(); }

}  // namespace merganser

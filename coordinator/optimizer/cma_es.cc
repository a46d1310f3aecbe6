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

CmaState FirstState(const CmaEsOptions& options, const GenomeSpec& genome) {
  const int n = genome.dimension();
  Eigen::VectorXd mean(n), scale(n);
  for (int i = 0; i < n; ++i) {
    const Gene& gene = genome.genes[i];
    mean[i] = options.bounds == CmaEsOptions::Bounds::kTransform ? GeneToPoint(gene.start)
                                                                 : gene.start;
    scale[i] = gene.scale;
  }
  return CmaState(MakeCmaConstants(options.variant, n, options.population), std::move(mean), scale,
                  options.sigma0);
}

}  // namespace

CmaEs::CmaEs(const CmaEsOptions& options, GenomeSpec genome, uint64_t seed)
    : options_(options),
      genome_(std::move(genome)),
      seed_(seed),
      state_(FirstState(options_, genome_)),
      ledger_(genome_.dimension()) {}

absl::StatusOr<std::vector<Proposal>> CmaEs::Ask(int count) {
  MG_RETURN_IF_ERROR(ledger_.CheckAsk(count));
  std::vector<Proposal> proposals;
  proposals.reserve(count);
  const uint64_t key = StableHash64("optimizer/cma_es") ^ seed_;
  for (int i = 0; i < count; ++i) {
    // A stream per proposal: the id is the whole random state, however many draws the box rejects.
    Rng rng(key, static_cast<uint64_t>(ledger_.next_id()));
    if (options_.bounds == CmaEsOptions::Bounds::kResample) {
      const Eigen::VectorXd x = state_.DrawInBox(rng, options_.tries);
      proposals.push_back(ledger_.Add({x.begin(), x.end()}, state_.generation()));
    } else {
      const Eigen::VectorXd x = state_.Draw(rng);
      std::vector<double> genome(dimension());
      std::transform(x.begin(), x.end(), genome.begin(), PointToGene);
      proposals.push_back(
          ledger_.Add(std::move(genome), state_.generation(), {x.begin(), x.end()}));
    }
  }
  return proposals;
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
    if (state_.generation() - one.generation > (options_.rolling ? kAgeMax : 0)) {
      ++ignored_;
      continue;
    }
    collected_.push_back(std::move(one));
    if (static_cast<int>(collected_.size()) == options_.population)
      MG_RETURN_IF_ERROR(CloseGeneration());
  }
  return absl::OkStatus();
}

std::vector<double> CmaEs::PointOf(const Told& told) const {
  if (!told.point.empty()) return told.point;
  std::vector<double> point = told.genome;
  if (options_.bounds == CmaEsOptions::Bounds::kTransform) {
    std::transform(point.begin(), point.end(), point.begin(), GeneToPoint);
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
  Eigen::MatrixXd x(dimension(), options_.population);
  std::vector<bool> injected;
  double worst = ranked[0].score;
  for (int i = 0; i < options_.population; ++i) {
    const std::vector<double> point = PointOf(ranked[i]);
    for (int j = 0; j < dimension(); ++j) x(j, i) = point[j];
    injected.push_back(ranked[i].generation != state_.generation());
    if (ranked[i].score != kFailedScore) worst = ranked[i].score;
  }
  MG_RETURN_IF_ERROR(Annotate(state_.Update(x, injected), "cma_es"));
  history_.push_back({ranked[0].score, worst});
  if (history_.size() > history_length()) history_.pop_front();
  return absl::OkStatus();
}

size_t CmaEs::history_length() const {
  return 10 +
         static_cast<size_t>(std::ceil(30.0 * dimension() / options_.population));  // as `cmaes`
}

std::vector<double> CmaEs::Mean() const {
  std::vector<double> mean(state_.mean().begin(), state_.mean().end());
  for (double& x : mean) {
    // Resampled genomes keep their mean inside but for rounding.
    x = options_.bounds == CmaEsOptions::Bounds::kTransform ? PointToGene(x)
                                                            : std::clamp(x, 0.0, 1.0);
  }
  return mean;
}

std::string CmaEs::Summary() const {
  std::string text =
      absl::StrFormat("cma_es: generation %d (%d of %d told), sigma %.3g, condition number %.3g",
                      state_.generation(), collected_.size(), options_.population, state_.sigma(),
                      state_.condition_number());
  if (ledger_.failed() > 0) absl::StrAppend(&text, ", ", ledger_.failed(), " failed");
  if (generations_all_failed_ > 0) {
    absl::StrAppend(&text, ", ", generations_all_failed_, " generations without any fitness");
  }
  if (ignored_ > 0) absl::StrAppend(&text, ", ", ignored_, " came too late");
  return text;
}

std::string CmaEs::StopReason() const {
  if (history_.size() == history_length()) {
    double best = -std::numeric_limits<double>::infinity(),
           worst = std::numeric_limits<double>::infinity();
    for (const auto& generation : history_) {
      best = std::max(best, generation.best);
      worst = std::min(worst, generation.worst);
    }
    if (best - worst < kFlat)
      return absl::StrCat("all fitness of ", history_.size(), " generations is equal");
  }
  return state_.StopReason();
}

std::string CmaEs::SaveState() const {
  StateWriter writer("cma_es");
  SaveGenome(genome_, writer);
  writer.Bits("seed", seed_);
  writer.Word("variant", options_.variant == CmaVariant::kPublished ? "published" : "hansen");
  writer.Int("population", options_.population);
  writer.Doubles("sigma0", {options_.sigma0});
  writer.Int("rolling", options_.rolling ? 1 : 0);
  writer.Int("transform", options_.bounds == CmaEsOptions::Bounds::kTransform ? 1 : 0);
  writer.Int("tries", options_.tries);
  state_.Save(writer);
  ledger_.Save(writer);
  writer.Int("ignored", ignored_);
  writer.Int("generations_all_failed", generations_all_failed_);
  writer.Int("collected", static_cast<int64_t>(collected_.size()));
  for (const Told& one : collected_) {
    writer.Int("id", one.id);
    writer.Int("generation", one.generation);
    writer.Int("failed", one.score == kFailedScore ? 1 : 0);
    writer.Doubles("score", {one.score == kFailedScore ? 0.0 : one.score});
    writer.Doubles("point", PointOf(one));
  }
  writer.Int("history", static_cast<int64_t>(history_.size()));
  for (const BestAndWorst& one : history_) writer.Doubles("scores", {one.best, one.worst});
  return std::move(writer).Finish();
}

absl::StatusOr<std::unique_ptr<CmaEs>> CmaEs::Restore(StateReader& reader) {
  constexpr double kDoubleMax = std::numeric_limits<double>::max();
  CmaEsOptions options;
  GenomeSpec genome = LoadGenome(reader, CmaEsOptions::kDimensionMax);
  const int dimension = genome.dimension();
  const uint64_t seed = reader.Bits("seed");
  const std::string variant = reader.Word("variant");
  if (reader.ok() && variant != "published" && variant != "hansen") reader.Fail("unknown variant");
  options.variant = variant == "published" ? CmaVariant::kPublished : CmaVariant::kHansen;
  options.population = static_cast<int>(
      reader.Int("population", CmaEsOptions::kPopulationMin, CmaEsOptions::kPopulationMax));
  const auto sigma0 =
      reader.Doubles("sigma0", 1, CmaEsOptions::kSigma0Min, CmaEsOptions::kSigma0Max);
  options.rolling = reader.Int("rolling", 0, 1) == 1;
  options.bounds = reader.Int("transform", 0, 1) == 1 ? CmaEsOptions::Bounds::kTransform
                                                      : CmaEsOptions::Bounds::kResample;
  options.tries = static_cast<int>(reader.Int("tries", 0, std::numeric_limits<int>::max()));
  if (!reader.ok()) return reader.status();
  options.sigma0 = sigma0[0];

  auto optimizer = std::make_unique<CmaEs>(options, std::move(genome), seed);
  optimizer->state_.Load(reader);
  optimizer->ledger_.Load(reader, optimizer->state_.generation());
  optimizer->ignored_ = reader.Int("ignored", 0, kCountMax);
  optimizer->generations_all_failed_ = reader.Int("generations_all_failed", 0, kCountMax);
  const int64_t collected = reader.Int("collected", 0, options.population - 1);
  for (int64_t i = 0; i < collected && reader.ok(); ++i) {
    Told one;
    one.id = reader.Int("id", 0, optimizer->ledger_.next_id() - 1);
    one.generation = reader.Int("generation", 0, optimizer->state_.generation());
    const bool failed = reader.Int("failed", 0, 1) == 1;
    const auto score = reader.Doubles("score", 1, -kDoubleMax, kDoubleMax);
    one.point = reader.Doubles("point", dimension, -kPointMax, kPointMax);
    if (!reader.ok()) break;
    one.score = failed ? kFailedScore : score[0];
    optimizer->collected_.push_back(std::move(one));
  }
  const int64_t history =
      reader.Int("history", 0, static_cast<int64_t>(optimizer->history_length()));
  for (int64_t i = 0; i < history && reader.ok(); ++i) {
    const auto scores = reader.Doubles("scores", 2, -kDoubleMax, kDoubleMax);
    if (reader.ok()) optimizer->history_.push_back({scores[0], scores[1]});
  }
  reader.Finish();
  if (!reader.ok()) return reader.status();
  return optimizer;
}

}  // namespace merganser

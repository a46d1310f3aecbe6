// CmaEs to and from text.
#include <algorithm>
#include <limits>
#include <utility>

#include "coordinator/optimizer/cma_es.h"

namespace merganser {
namespace {

constexpr int64_t kCountMax = int64_t{1} << 53;
constexpr double kPointMax = 1e150;
constexpr double kDoubleMax = std::numeric_limits<double>::max();

void SaveScore(double score, StateWriter& writer) {
  writer.Int("failed", score == kFailedScore ? 1 : 0);
  writer.Doubles("score", {score == kFailedScore ? 0.0 : score});
}

double LoadScore(StateReader& reader) {
  const bool failed = reader.Int("failed", 0, 1) == 1;
  const auto score = reader.Doubles("score", 1, -kDoubleMax, kDoubleMax);
  return failed || !reader.ok() ? kFailedScore : score[0];
}

}  // namespace

std::string CmaEs::SaveState() const {
  StateWriter writer("cma_es");
  SaveTo(writer);
  return std::move(writer).Finish();
}

void CmaEs::SaveTo(StateWriter& writer) const {
  SaveGenome(genome_, writer);
  writer.Bits("seed", seed_);
  writer.Word("variant", options_.variant == CmaVariant::kPublished ? "published" : "hansen");
  writer.Int("population", options_.population);
  writer.Doubles("sigma0", {options_.sigma0});
  writer.Int("rolling", options_.rolling ? 1 : 0);
  writer.Int("transform", options_.bounds == CmaEsOptions::Bounds::kTransform ? 1 : 0);
  writer.Int("tries", options_.tries);
  writer.Int("separable", options_.separable ? 1 : 0);
  writer.Int("discrete_search", static_cast<int>(options_.discrete));
  writer.Int("restarts", options_.restarts);
  writer.Int("adaptive_rates", options_.adaptive_rates ? 1 : 0);
  writer.Int("restarts_made", restarts_made_);
  writer.Int("generations", generation_);
  writer.Int("run_start", run_start_);
  SaveScore(run_best_, writer);
  SaveScore(ended_best_, writer);
  writer.Int("has_ended_mean", ended_mean_.empty() ? 0 : 1);
  if (!ended_mean_.empty()) writer.Doubles("ended_mean", ended_mean_);
  if (state_.has_value()) state_->Save(writer);
  if (categories_.has_value()) categories_->Save(writer);
  ledger_.Save(writer);
  writer.Int("ignored", ignored_);
  writer.Int("generations_all_failed", generations_all_failed_);
  writer.Int("collected", static_cast<int64_t>(collected_.size()));
  for (const Told& one : collected_) {
    writer.Int("id", one.id);
    writer.Int("generation", one.generation);
    writer.Int("injected", one.injected ? 1 : 0);
    SaveScore(one.score, writer);
    writer.Doubles("point", PointOf(one));
  }
  writer.Int("history", static_cast<int64_t>(history_.size()));
  for (const BestAndWorst& one : history_) writer.Doubles("scores", {one.best, one.worst});
}

absl::StatusOr<std::unique_ptr<CmaEs>> CmaEs::Restore(StateReader& reader) {
  auto optimizer = RestorePart(reader);
  if (!optimizer.ok()) return optimizer;
  reader.Finish();
  if (!reader.ok()) return reader.status();
  return optimizer;
}

absl::StatusOr<std::unique_ptr<CmaEs>> CmaEs::RestorePart(StateReader& reader) {
  CmaEsOptions options;
  GenomeSpec genome = LoadGenome(reader, CmaEsOptions::kSeparableDimensionMax);
  const uint64_t seed = reader.Bits("seed");
  const std::string variant = reader.Word("variant");
  if (reader.ok() && variant != "published" && variant != "hansen") reader.Fail("unknown variant");
  options.variant = variant == "published" ? CmaVariant::kPublished : CmaVariant::kHansen;
  options.population =
      static_cast<int>(reader.Int("population", CmaEsOptions::kPopulationMin, CmaEsOptions::kPopulationMax));
  const auto sigma0 = reader.Doubles("sigma0", 1, CmaEsOptions::kSigma0Min, CmaEsOptions::kSigma0Max);
  options.rolling = reader.Int("rolling", 0, 1) == 1;
  options.bounds = reader.Int("transform", 0, 1) == 1 ? CmaEsOptions::Bounds::kTransform : CmaEsOptions::Bounds::kResample;
  options.tries = static_cast<int>(reader.Int("tries", 0, std::numeric_limits<int>::max()));
  options.separable = reader.Int("separable", 0, 1) == 1;
  options.discrete = static_cast<CmaEsOptions::Discrete>(reader.Int("discrete_search", 0, 2));
  options.restarts = static_cast<int>(reader.Int("restarts", 0, CmaEsOptions::kRestartsMax));
  options.adaptive_rates = reader.Int("adaptive_rates", 0, 1) == 1;
  const int restarts_made = static_cast<int>(reader.Int("restarts_made", 0, options.restarts));
  if (!reader.ok()) return reader.status();
  options.sigma0 = sigma0[0];
  if (!options.separable && genome.dimension() > CmaEsOptions::kDimensionMax) {
    reader.Fail("too many genes for a full covariance");
    return reader.status();
  }
  if (options.separable && options.adaptive_rates) {
    reader.Fail("separable and adaptive_rates exclude each other");
    return reader.status();
  }

  const int dimension = genome.dimension();
  auto optimizer = std::make_unique<CmaEs>(options, std::move(genome), seed);
  if (restarts_made > 0) {
    optimizer->restarts_made_ = restarts_made;
    optimizer->StartRun();
  }
  optimizer->generation_ = reader.Int("generations", 0, kCountMax);
  optimizer->run_start_ = reader.Int("run_start", 0, optimizer->generation_);
  optimizer->run_best_ = LoadScore(reader);
  optimizer->ended_best_ = LoadScore(reader);
  if (reader.Int("has_ended_mean", 0, 1) == 1) optimizer->ended_mean_ = reader.Doubles("ended_mean", dimension, 0, 1);
  if (optimizer->state_.has_value()) optimizer->state_->Load(reader);
  if (optimizer->categories_.has_value()) optimizer->categories_->Load(reader);
  optimizer->ledger_.Load(reader, optimizer->generation_);
  optimizer->ignored_ = reader.Int("ignored", 0, kCountMax);
  optimizer->generations_all_failed_ = reader.Int("generations_all_failed", 0, kCountMax);
  const int64_t collected = reader.Int("collected", 0, optimizer->population_ - 1);
  for (int64_t i = 0; i < collected && reader.ok(); ++i) {
    Told one;
    one.id = reader.Int("id", 0, optimizer->ledger_.next_id() - 1);
    one.generation = reader.Int("generation", 0, optimizer->generation_);
    one.injected = reader.Int("injected", 0, 1) == 1;
    one.score = LoadScore(reader);
    one.point = reader.Doubles("point", dimension, -kPointMax, kPointMax);
    if (reader.ok()) optimizer->collected_.push_back(std::move(one));
  }
  const int64_t history = reader.Int("history", 0, static_cast<int64_t>(optimizer->history_length()));
  for (int64_t i = 0; i < history && reader.ok(); ++i) {
    const auto scores = reader.Doubles("scores", 2, -kDoubleMax, kDoubleMax);
    if (reader.ok()) optimizer->history_.push_back({scores[0], scores[1]});
  }
  if (!reader.ok()) return reader.status();
  return optimizer;
}

}  // namespace merganser

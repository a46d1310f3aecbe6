#include "coordinator/replay/replay.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/factory.h"
#include "coordinator/replay/item_response.h"
#include "coordinator/replay/score_estimate.h"

namespace merganser {
namespace {

using Samples = ReplayOptions::Samples;

constexpr double kRaceZ = 1.645;  // one-sided, 5 %

// The first `count` of a random order of `from`.
std::vector<int> Draw(std::vector<int> from, size_t count, Rng rng) {
  for (size_t i = 0; i < count; ++i) std::swap(from[i], from[i + rng.NextU64() % (from.size() - i)]);
  from.resize(count);
  return from;
}

double Score(const std::vector<bool>& correct, const std::vector<int>& samples) {
  int right = 0;
  for (const int sample : samples) right += correct[sample];
  return static_cast<double>(right) / static_cast<double>(samples.size());
}

struct Scored {
  std::vector<double> genome;
  std::vector<bool> correct;  // on all samples
  std::vector<int> seen;      // the samples that it was scored on
  bool stopped = false;       // by a race
  double measured = 0;        // on `seen`
};

// A search and what it has spent.
class Run {
 public:
  Run(const ResponseModel& model, const ReplayOptions& options, std::unique_ptr<Optimizer> optimizer,
      std::vector<int> search, std::vector<int> held_out)
      : model_(model),
        options_(options),
        optimizer_(std::move(optimizer)),
        search_(std::move(search)),
        held_out_(std::move(held_out)),
        key_(StableHash64("replay/samples") ^ options.seed) {
    each_ = options.samples_per_candidate == 0 ? search_.size() : static_cast<size_t>(options.samples_per_candidate);
    samples_ = Draw(search_, each_, Rng(key_, 0));
    column_.assign(static_cast<size_t>(model_.samples()), -1);
    for (size_t i = 0; i < search_.size(); ++i) column_[search_[i]] = static_cast<int>(i);
    if (options_.samples == Samples::kEstimated) Calibrate();
  }

  // Of the next generation, at most.
  int64_t NextCost() const { return static_cast<int64_t>(each_) * optimizer_->batch_size(); }
  int64_t FinalistsCost() const {
    return options_.finalists == 0 ? 0 : static_cast<int64_t>(search_.size()) * (options_.finalists + 1);
  }
  int64_t spent() const { return spent_; }
  size_t candidates() const { return scored_.size(); }

  absl::Status Generation() {
    ChooseSamples();
    ++generation_;
    MG_ASSIGN_OR_RETURN(const auto proposals, optimizer_->Ask(optimizer_->batch_size()));
    std::vector<Scored> batch;
    for (const Proposal& proposal : proposals)
      batch.push_back({proposal.genome, model_.Correct(proposal.genome), {}, false, 0});
    if (options_.samples == Samples::kRace) {
      Race(batch);
    } else {
      for (Scored& one : batch) one.seen = samples_;
    }
    std::vector<Outcome> outcomes;
    for (size_t i = 0; i < batch.size(); ++i) {
      Scored& one = batch[i];
      one.measured = estimate_ ? Estimated(one) : Score(one.correct, one.seen);
      spent_ += static_cast<int64_t>(one.seen.size());
      // Those that were stopped rank behind the others, the later stopped the better.
      const double behind =
          one.stopped ? 2 * (1 - static_cast<double>(one.seen.size()) / static_cast<double>(each_)) + 1 : 0;
      outcomes.push_back({proposals[i].id, {one.measured - behind}, false});
      scored_.push_back(std::move(one));
    }
    return optimizer_->Tell(outcomes);
  }

  ReplayResult Result() const {
    ReplayResult result;
    result.candidates = static_cast<int64_t>(scored_.size());
    result.sample_evaluations = spent_ + FinalistsCost();
    std::vector<const Scored*> order;
    for (const Scored& one : scored_) {
      if (!one.stopped) order.push_back(&one);
    }
    std::stable_sort(order.begin(), order.end(), [](const Scored* a, const Scored* b) { return a->measured > b->measured; });
    const Scored& best = *order.front();
    result.best_genome = best.genome;
    result.best_measured = best.measured;
    result.best_held_out = result.mean_held_out = result.answer_held_out = Score(best.correct, held_out_);
    const std::vector<double> mean = optimizer_->Mean();
    const std::vector<bool> of_mean = mean.empty() ? best.correct : model_.Correct(mean);
    result.mean_held_out = Score(of_mean, held_out_);
    if (options_.finalists == 0) return result;
    double answer = Score(of_mean, search_);
    result.answer_held_out = result.mean_held_out;
    for (size_t i = 0; i < order.size() && static_cast<int>(i) < options_.finalists; ++i) {
      const double score = Score(order[i]->correct, search_);
      if (score <= answer) continue;
      answer = score;
      result.answer_held_out = Score(order[i]->correct, held_out_);
    }
    return result;
  }

 private:
  void ChooseSamples() {
    if (options_.samples == Samples::kFixed || options_.samples == Samples::kEstimated || generation_ == 0) return;
    samples_ = Draw(search_, each_, Rng(key_, generation_));
    if (options_.samples == Samples::kFisher && scored_.size() >= static_cast<size_t>(kInformativeAfter))
      ChooseInformative();
  }

  // Held-out samples are no part of it.
  void Calibrate() {
    Eigen::MatrixXd known(static_cast<Eigen::Index>(options_.known.size()), static_cast<Eigen::Index>(search_.size()));
    for (Eigen::Index m = 0; m < known.rows(); ++m) {
      for (Eigen::Index i = 0; i < known.cols(); ++i) known(m, i) = options_.known[m][search_[i]] ? 1 : 0;
    }
    estimate_.emplace(known);
  }

  double Estimated(const Scored& one) const {
    std::vector<int> seen;
    std::vector<bool> right;
    for (const int sample : one.seen) {
      seen.push_back(column_[sample]);
      right.push_back(one.correct[sample]);
    }
    return estimate_->Score(seen, right);
  }

  // Replaces most of samples_.
  void ChooseInformative() {
    const size_t first = scored_.size() > static_cast<size_t>(kCalibratedOn) ? scored_.size() - kCalibratedOn : 0;
    Eigen::MatrixXd outcomes = Eigen::MatrixXd::Constant(static_cast<Eigen::Index>(scored_.size() - first),
                                                         static_cast<Eigen::Index>(search_.size()), -1);
    for (size_t i = first; i < scored_.size(); ++i) {
      for (const int sample : scored_[i].seen) {
        outcomes(static_cast<Eigen::Index>(i - first), column_[sample]) = scored_[i].correct[sample] ? 1 : 0;
      }
    }
    const auto last = static_cast<int>(std::min<Eigen::Index>(optimizer_->batch_size(), outcomes.rows()));
    std::vector<int> draw;
    for (const int sample : samples_) draw.push_back(column_[sample]);
    samples_.clear();
    for (const int i : InformativeDraw(outcomes, last, draw)) samples_.push_back(search_[i]);
  }

  void Race(std::vector<Scored>& batch) const {
    const size_t keep = (batch.size() + 1) / 2;
    for (size_t begin = 0; begin < samples_.size(); begin += ReplayOptions::kRaceBlock) {
      const size_t end = std::min(samples_.size(), begin + ReplayOptions::kRaceBlock);
      std::vector<Scored*> going;
      for (Scored& one : batch) {
        if (one.stopped) continue;
        one.seen.assign(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(end));
        one.measured = Score(one.correct, one.seen);
        going.push_back(&one);
      }
      if (end == samples_.size() || going.size() <= keep) continue;
      std::stable_sort(going.begin(), going.end(),
                       [](const Scored* a, const Scored* b) { return a->measured > b->measured; });
      const Scored& reference = *going[keep - 1];
      for (size_t i = going.size(); i > keep; --i) {
        int worse = 0, better = 0;
        for (const int sample : reference.seen) {
          worse += reference.correct[sample] && !going[i - 1]->correct[sample];
          better += !reference.correct[sample] && going[i - 1]->correct[sample];
        }
        if (worse - better > kRaceZ * std::sqrt(static_cast<double>(worse + better))) going[i - 1]->stopped = true;
      }
    }
  }

  const ResponseModel& model_;
  const ReplayOptions& options_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<int> search_, held_out_;
  std::vector<int> column_;  // of a sample: its number in search_
  std::optional<ScoreEstimate> estimate_;
  uint64_t key_;
  size_t each_ = 0;
  std::vector<int> samples_;  // of the current generation
  uint64_t generation_ = 0;
  int64_t spent_ = 0;
  std::vector<Scored> scored_;  // in order
};

absl::Status Check(const ReplayOptions& options, int samples) {
  if (!(options.held_out > 0 && options.held_out < 1))
    return absl::InvalidArgumentError(absl::StrCat("held_out ", options.held_out, " is not in (0, 1)"));
  if (options.finalists < 0) return absl::InvalidArgumentError(absl::StrCat("finalists ", options.finalists, " is below 0"));
  if (options.samples == Samples::kEstimated && options.known.empty()) {
    return absl::InvalidArgumentError("known has no model: an estimate needs outcomes of models known before the search");
  }
  for (const std::vector<bool>& one : options.known) {
    if (static_cast<int>(one.size()) == samples) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("known has a model of ", one.size(), " samples, the record has ", samples));
  }
  if (options.sample_evaluations.empty()) return absl::InvalidArgumentError("sample_evaluations has no budget");
  for (size_t i = 0; i < options.sample_evaluations.size(); ++i) {
    const int64_t budget = options.sample_evaluations[i];
    if (budget < 1) return absl::InvalidArgumentError(absl::StrCat("sample_evaluations ", budget, " is below 1"));
    if (i > 0 && budget <= options.sample_evaluations[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat("sample_evaluations ", budget, " is not above the budget before, ",
                                                     options.sample_evaluations[i - 1]));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ReplayResult>> Replay(const OptimizerSpec& spec, const ResponseModel& model,
                                                 const ReplayOptions& options) {
  MG_RETURN_IF_ERROR(Check(options, model.samples()));
  // Held out are always the same, so that results compare across seeds.
  std::vector<int> search(model.samples());
  std::iota(search.begin(), search.end(), 0);
  const size_t held_out_count =
      std::clamp<size_t>(static_cast<size_t>(options.held_out * model.samples() + 0.5), 1, search.size() - 1);
  const std::vector<int> held_out = Draw(search, held_out_count, Rng(StableHash64("replay/held_out"), 0));
  for (const int sample : held_out) search.erase(std::find(search.begin(), search.end(), sample));
  if (options.samples_per_candidate < 0 || options.samples_per_candidate > static_cast<int>(search.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("samples_per_candidate ", options.samples_per_candidate, " is not in [1, ", search.size(), "]"));
  }
  MG_ASSIGN_OR_RETURN(auto optimizer, CreateOptimizer(spec, model.dimension(), options.seed));
  Run run(model, options, std::move(optimizer), search, held_out);
  std::vector<ReplayResult> results;
  for (const int64_t budget : options.sample_evaluations) {
    while (run.candidates() == 0 || run.spent() + run.NextCost() + run.FinalistsCost() <= budget) {
      MG_RETURN_IF_ERROR(run.Generation());
    }
    results.push_back(run.Result());
  }
  return results;
}

}  // namespace merganser

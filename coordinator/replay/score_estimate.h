// A score on many samples, estimated from outcomes on a few of them: what MERGE3 gives its optimizer (arXiv 2502.10436; the
// estimator "gmpirt" of its library mergenetic).
#ifndef MERGANSER_COORDINATOR_REPLAY_SCORE_ESTIMATE_H_
#define MERGANSER_COORDINATOR_REPLAY_SCORE_ESTIMATE_H_

#include <Eigen/Core>
#include <vector>

#include "coordinator/replay/item_response.h"

namespace merganser {

// Samples are those of a two-parameter item response model that is fitted to models known from before: here the sources, in
// mergenetic those of a public leaderboard. A merge's ability is one that its parents span, sum_k lambda_k ability_k with
// free lambda, at which what is seen of it is most likely; as abilities have one dimension here (mergenetic's have more),
// that is any number. Pure.
class ScoreEstimate {
 public:
  // `known` is [models, samples]: 1 right, 0 wrong, as in FitItemResponse. REQUIRES: at least one of both.
  explicit ScoreEstimate(const Eigen::MatrixXd& known) : items_(FitItemResponse(known)) {}

  // Of most likelihood, without a prior; in [-kAbilityMax, kAbilityMax], where all or none are right. `seen` are columns of
  // `known`, `right` says of each whether the merge got it right. REQUIRES: equally many, at least one.
  double Ability(const std::vector<int>& seen, const std::vector<bool>& right) const;

  // The share of all samples that the merge gets right. With n of N seen: mp = n/N mean(seen) + (1 - n/N) mean(P of those
  // not seen at its ability), and the estimate is mean(seen)/2 + mp/2. All seen: their mean.
  double Score(const std::vector<int>& seen, const std::vector<bool>& right) const;

  static constexpr double kAbilityMax = 30;

 private:
  ItemResponseModel items_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_SCORE_ESTIMATE_H_

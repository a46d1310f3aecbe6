// The two-parameter item response model: which samples tell most about candidates of a given ability.
#ifndef MERGANSER_COORDINATOR_REPLAY_ITEM_RESPONSE_H_
#define MERGANSER_COORDINATOR_REPLAY_ITEM_RESPONSE_H_

#include <Eigen/Core>
#include <vector>

namespace merganser {

// P(candidate gets the sample right) = 1 / (1 + exp(-(a * ability - b))): a is the sample's discrimination, b its
// difficulty.
struct ItemResponseModel {
  Eigen::VectorXd abilities;        // [candidates], standardised
  Eigen::VectorXd discriminations;  // [samples], in [0.05, 4]
  Eigen::VectorXd difficulties;     // [samples]

  // That a candidate of this ability gets the sample right.
  double Probability(double ability, int sample) const;
  // Fisher information of each sample about a candidate of this ability: a^2 P (1 - P). [samples]
  Eigen::VectorXd Information(double ability) const;
};

// Maximum a posteriori by alternating Newton steps, with the priors a ~ N(1, 0.5), b ~ N(0, 9), ability ~ N(0, 1).
// `outcomes` is [candidates, samples]: 1 right, 0 wrong, negative where the candidate was not scored on the sample. Pure.
// REQUIRES: at least one candidate and one sample.
ItemResponseModel FitItemResponse(const Eigen::MatrixXd& outcomes);

// The `count` samples of most information about `ability`, ascending; ties to the earlier sample. REQUIRES: count in
// [0, samples].
std::vector<int> MostInformative(const ItemResponseModel& model, double ability, int count);

// A choice of samples by what they tell, as replays and jobs make it.
inline constexpr int kInformativeAfter = 40;       // candidates that must have been scored
inline constexpr int kCalibratedOn = 200;          // the model is fitted to so many of the latest candidates
inline constexpr double kInformativeShare = 0.75;  // of the samples; the others are random, so that every sample stays known

// As many samples as `draw` has: first those of most information about a candidate of the mean ability of the last `last`
// rows of `outcomes` (as in FitItemResponse), then samples of `draw`, a random draw of the columns, in its order. REQUIRES:
// last in [1, rows], `draw` without repeats.
std::vector<int> InformativeDraw(const Eigen::MatrixXd& outcomes, int last, const std::vector<int>& draw);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_ITEM_RESPONSE_H_

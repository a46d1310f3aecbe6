#include "coordinator/replay/score_estimate.h"

#include <algorithm>

namespace merganser {
namespace {

constexpr double kDelta = 0.5;  // of the plain mean, in mergenetic a constant
constexpr int kHalvings = 60;   // of an interval of 60: below the last digit

}  // namespace

double ScoreEstimate::Ability(const std::vector<int>& seen, const std::vector<bool>& right) const {
  // The likelihood is concave in the ability, so its slope falls through 0 once.
  const auto slope = [&](double ability) {
    double sum = 0;
    for (size_t i = 0; i < seen.size(); ++i) {
      sum += items_.discriminations[seen[i]] * ((right[i] ? 1 : 0) - items_.Probability(ability, seen[i]));
    }
    return sum;
  };
  double low = -kAbilityMax, high = kAbilityMax;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (slope(middle) > 0 ? low : high) = middle;
  }
  return (low + high) / 2;
}

double ScoreEstimate::Score(const std::vector<int>& seen, const std::vector<bool>& right) const {
  const auto samples = static_cast<double>(items_.difficulties.size());
  const double mean = static_cast<double>(std::count(right.begin(), right.end(), true)) / static_cast<double>(right.size());
  const double ability = Ability(seen, right);
  double unseen = 0;
  for (Eigen::Index s = 0; s < items_.difficulties.size(); ++s) {
    if (std::find(seen.begin(), seen.end(), s) == seen.end()) unseen += items_.Probability(ability, static_cast<int>(s));
  }
  const double mp = (mean * static_cast<double>(seen.size()) + unseen) / samples;
  return kDelta * mean + (1 - kDelta) * mp;
}

}  // namespace merganser

#include "coordinator/replay/item_response.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace merganser {
namespace {

constexpr int kSweeps = 60;
constexpr double kDiscriminationMin = 0.05, kDiscriminationMax = 4;
constexpr double kDiscriminationMean = 1, kDiscriminationVariance = 0.5;
constexpr double kDifficultyVariance = 9;
constexpr double kStepMax = 1;  // of a Newton step, which overshoots far from the optimum

double Logistic(double logit) { return 1 / (1 + std::exp(-std::clamp(logit, -30.0, 30.0))); }

// Zero mean and unit variance, as the prior of abilities has it; all zero where they are equal.
void Standardise(Eigen::VectorXd& values) {
  values.array() -= values.mean();
  const double deviation = std::sqrt(values.squaredNorm() / static_cast<double>(values.size()));
  if (deviation > 1e-9) values /= deviation;
}

}  // namespace

double ItemResponseModel::Probability(double ability, int sample) const {
  return Logistic(discriminations[sample] * ability - difficulties[sample]);
}

Eigen::VectorXd ItemResponseModel::Information(double ability) const {
  Eigen::VectorXd information(discriminations.size());
  for (Eigen::Index s = 0; s < information.size(); ++s) {
    const double p = Probability(ability, static_cast<int>(s));
    information[s] = discriminations[s] * discriminations[s] * p * (1 - p);
  }
  return information;
}

ItemResponseModel FitItemResponse(const Eigen::MatrixXd& outcomes) {
  const Eigen::Index candidates = outcomes.rows(), samples = outcomes.cols();
  ItemResponseModel model{Eigen::VectorXd::Zero(candidates), Eigen::VectorXd::Ones(samples), Eigen::VectorXd(samples)};
  for (Eigen::Index s = 0; s < samples; ++s) {
    double right = 0.5, wrong = 0.5;
    for (Eigen::Index c = 0; c < candidates; ++c) {
      if (outcomes(c, s) >= 0) (outcomes(c, s) > 0.5 ? right : wrong) += 1;
    }
    model.difficulties[s] = std::log(wrong / right);
  }
  for (Eigen::Index c = 0; c < candidates; ++c) {
    double right = 0, seen = 0;
    for (Eigen::Index s = 0; s < samples; ++s) {
      if (outcomes(c, s) < 0) continue;
      ++seen;
      right += outcomes(c, s);
    }
    model.abilities[c] = seen > 0 ? right / seen : 0.5;
  }
  Standardise(model.abilities);

  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (Eigen::Index s = 0; s < samples; ++s) {
      double& a = model.discriminations[s];
      double& b = model.difficulties[s];
      double gradient_a = (kDiscriminationMean - a) / kDiscriminationVariance, gradient_b = -b / kDifficultyVariance;
      double curve_a = 1 / kDiscriminationVariance, curve_b = 1 / kDifficultyVariance;
      for (Eigen::Index c = 0; c < candidates; ++c) {
        if (outcomes(c, s) < 0) continue;
        const double ability = model.abilities[c], p = Logistic(a * ability - b), error = outcomes(c, s) - p;
        gradient_a += error * ability;
        gradient_b -= error;
        curve_a += p * (1 - p) * ability * ability;
        curve_b += p * (1 - p);
      }
      a = std::clamp(a + std::clamp(gradient_a / curve_a, -kStepMax, kStepMax), kDiscriminationMin, kDiscriminationMax);
      b += std::clamp(gradient_b / curve_b, -kStepMax, kStepMax);
    }
    for (Eigen::Index c = 0; c < candidates; ++c) {
      double gradient = -model.abilities[c], curve = 1;
      for (Eigen::Index s = 0; s < samples; ++s) {
        if (outcomes(c, s) < 0) continue;
        const double a = model.discriminations[s], p = Logistic(a * model.abilities[c] - model.difficulties[s]);
        gradient += a * (outcomes(c, s) - p);
        curve += a * a * p * (1 - p);
      }
      model.abilities[c] += std::clamp(gradient / curve, -kStepMax, kStepMax);
    }
    Standardise(model.abilities);
  }
  return model;
}

std::vector<int> MostInformative(const ItemResponseModel& model, double ability, int count) {
  const Eigen::VectorXd information = model.Information(ability);
  std::vector<int> order(static_cast<size_t>(information.size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return information[a] > information[b]; });
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<int> InformativeDraw(const Eigen::MatrixXd& outcomes, int last, const std::vector<int>& draw) {
  const ItemResponseModel model = FitItemResponse(outcomes);
  const auto informative = static_cast<int>(kInformativeShare * static_cast<double>(draw.size()));
  std::vector<int> chosen = MostInformative(model, model.abilities.tail(last).mean(), informative);
  // The draw has enough others: of its samples at most `informative` were chosen.
  for (const int sample : draw) {
    if (chosen.size() == draw.size()) break;
    if (std::find(chosen.begin(), chosen.end(), sample) == chosen.end()) chosen.push_back(sample);
  }
  return chosen;
}

}  // namespace merganser

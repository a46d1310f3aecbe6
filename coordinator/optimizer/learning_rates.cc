#include "coordinator/optimizer/learning_rates.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <vector>

namespace merganser {
namespace {

constexpr double kAlpha = 1.4;  // the ratio to hold, over the rate
constexpr double kBetaMean = 0.1;
constexpr double kBetaCovariance = 0.03;
constexpr double kGamma = 0.1;
constexpr double kRateMin = 1e-12;
constexpr double kLarge = 1e150;

}  // namespace

LearningRates::LearningRates(int n) : n_(n) {
  mean_.beta = kBetaMean;
  mean_.step = Eigen::VectorXd::Zero(n);
  covariance_.beta = kBetaCovariance;
  covariance_.step = Eigen::VectorXd::Zero(static_cast<Eigen::Index>(n) * n);
}

void LearningRates::Signal::Observe(const Eigen::VectorXd& local_step) {
  step = (1 - beta) * step + beta * local_step;                    // eq. 13
  square = (1 - beta) * square + beta * local_step.squaredNorm();  // eq. 14
  const double signal = step.squaredNorm();
  const double noise = square - signal;
  if (!(noise > 0)) return;
  const double ratio = (signal - beta / (2 - beta) * square) / noise;  // eq. 15
  const double relative = std::clamp(ratio / (kAlpha * rate) - 1, -1.0, 1.0);
  rate *= std::exp(std::min(kGamma * rate, beta) * relative);  // eq. 16
  rate = std::clamp(rate, kRateMin, 1.0);
}

bool LearningRates::Apply(const Eigen::VectorXd& old_mean, const Eigen::MatrixXd& old_sigma_matrix,
                          const Eigen::MatrixXd& old_inverse_root, Eigen::VectorXd& mean, double& sigma,
                          Eigen::MatrixXd& c) {
  LearningRates next = *this;
  const Eigen::VectorXd mean_step = mean - old_mean;
  const Eigen::MatrixXd step = sigma * sigma * c - old_sigma_matrix;
  next.mean_.Observe(old_inverse_root * mean_step);
  const Eigen::MatrixXd local = old_inverse_root * step * old_inverse_root / std::sqrt(2.0);
  next.covariance_.Observe(Eigen::Map<const Eigen::VectorXd>(local.data(), local.size()));

  const Eigen::MatrixXd shortened = old_sigma_matrix + next.covariance_.rate * step;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(shortened, Eigen::EigenvaluesOnly);
  if (solver.info() != Eigen::Success || !(solver.eigenvalues().minCoeff() > 0)) return false;
  const double log_determinant = solver.eigenvalues().array().log().sum();
  const double new_sigma = std::exp(log_determinant / (2 * n_));
  mean = old_mean + next.mean_.rate * mean_step;
  c = shortened / (new_sigma * new_sigma);
  sigma = new_sigma * mean_.rate / next.mean_.rate;  // the optimal step size grows as the rate falls
  *this = next;
  return true;
}

void LearningRates::Save(StateWriter& writer) const {
  for (const Signal* signal : {&mean_, &covariance_}) {
    writer.Doubles("rate", {signal->rate, signal->square});
    writer.Doubles("step", {signal->step.data(), static_cast<size_t>(signal->step.size())});
  }
}

void LearningRates::Load(StateReader& reader) {
  for (Signal* signal : {&mean_, &covariance_}) {
    const auto rate = reader.Doubles("rate", 2, 0, kLarge);
    const auto step = reader.Doubles("step", signal->step.size(), -kLarge, kLarge);
    if (!reader.ok()) return;
    if (rate[0] < kRateMin || rate[0] > 1) return reader.Fail("a learning rate is not in (0, 1]");
    signal->rate = rate[0];
    signal->square = rate[1];
    signal->step = Eigen::Map<const Eigen::VectorXd>(step.data(), signal->step.size());
  }
}

}  // namespace merganser

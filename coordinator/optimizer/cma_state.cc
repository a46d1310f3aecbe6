#include "coordinator/optimizer/cma_state.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// Genes lie in [0, 1]: below the first the mean cannot move in double precision; the second is
// `cmaes`' bound.
constexpr double kSigmaMin = 1e-18;
constexpr double kSigmaMax = 1e32;
// `cmaes`' repair of a negative eigenvalue, and its guard in eq. 46.
constexpr double kPublishedEpsilon = 1e-8;
constexpr double kConditionMax = 1e14;
constexpr double kDeviationMax = 10;       // genes have a range of 1
constexpr double kEigenvalueMin = 1e-100;  // keeps C^-1/2 far from overflow
constexpr double kLarge = 1e150;

Eigen::VectorXd ToVector(const std::vector<double>& values) {
  return Eigen::Map<const Eigen::VectorXd>(values.data(), static_cast<Eigen::Index>(values.size()));
}

absl::Span<const double> ToSpan(const Eigen::VectorXd& v) {
  return {v.data(), static_cast<size_t>(v.size())};
}

}  // namespace

CmaState::CmaState(CmaConstants constants, double mean, double sigma)
    : CmaState(constants, Eigen::VectorXd::Constant(constants.dimension, mean),
               Eigen::VectorXd::Ones(constants.dimension), sigma) {}

CmaState::CmaState(CmaConstants constants, Eigen::VectorXd mean, const Eigen::VectorXd& scale,
                   double sigma)
    : constants_(std::move(constants)), sigma0_(sigma), sigma_(sigma), mean_(std::move(mean)) {
  const int n = constants_.dimension;
  p_sigma_ = p_c_ = Eigen::VectorXd::Zero(n);
  raw_ = covariance_ = scale.cwiseAbs2().asDiagonal();
  // As a restored state decomposes it: a solver may order the axes.
  if (scale.isOnes()) {
    basis_ = Eigen::MatrixXd::Identity(n, n);
    scales_ = scale;
  } else {
    Decompose().IgnoreError();  // a diagonal always converges
  }
}

double CmaState::condition_number() const {
  const double ratio = scales_.maxCoeff() / scales_.minCoeff();
  return ratio * ratio;
}

absl::Status CmaState::Decompose() {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(raw_);
  if (solver.info() != Eigen::Success) {
    return absl::InternalError(absl::StrCat("eigenvalues of the covariance of generation ",
                                            generation_, " did not converge (dimension ",
                                            constants_.dimension, ")"));
  }
  Eigen::VectorXd eigenvalues = solver.eigenvalues();
  bool repaired = false;
  const bool published = constants_.variant == CmaVariant::kPublished;
  const double low =
      std::max(kEigenvalueMin, published ? 0.0 : eigenvalues.maxCoeff() / kConditionMax);
  for (double& value : eigenvalues) {
    if (value >= low) continue;
    value = published ? kPublishedEpsilon : low;
    repaired = true;
  }
  basis_ = solver.eigenvectors();
  scales_ = eigenvalues.cwiseSqrt();
  covariance_ =
      repaired ? Eigen::MatrixXd(basis_ * eigenvalues.asDiagonal() * basis_.transpose()) : raw_;
  return absl::OkStatus();
}

Eigen::VectorXd CmaState::Draw(Rng& rng) const {
  Eigen::VectorXd z(constants_.dimension);
  for (double& value : z) value = rng.Normal();
  return mean_ + sigma_ * (basis_ * scales_.cwiseProduct(z));
}

Eigen::VectorXd CmaState::DrawInBox(Rng& rng, int tries) const {
  Eigen::VectorXd x;
  for (int attempt = 0; attempt <= tries; ++attempt) {
    x = Draw(rng);
    if (x.minCoeff() >= 0 && x.maxCoeff() <= 1) break;
  }
  return x.cwiseMax(0.0).cwiseMin(1.0);
}

absl::Status CmaState::Update(const Eigen::MatrixXd& x, const std::vector<bool>& injected) {
  const CmaConstants& k = constants_;
  const double n = k.dimension;
  if (x.rows() != k.dimension || x.cols() != k.population ||
      static_cast<int>(injected.size()) != k.population) {
    return absl::InvalidArgumentError(absl::StrCat("generation of ", x.cols(), " genomes of ",
                                                   x.rows(), " numbers, not ", k.population, " of ",
                                                   k.dimension));
  }
  if (!x.allFinite())
    return absl::InvalidArgumentError("a genome holds a number that is not finite");
  const bool published = k.variant == CmaVariant::kPublished;

  CmaState next = *this;
  Eigen::MatrixXd y = (x.colwise() - mean_) / sigma_;  // [n, lambda]
  const Eigen::MatrixXd inverse_root =                 // C^-1/2, [n, n]
      basis_ * scales_.cwiseInverse().asDiagonal() * basis_.transpose();
  const double length_max = std::sqrt(n) + 2 * n / (n + 2);  // arXiv 1110.4181, eq. 4 with c_y
  for (int i = 0; i < k.population; ++i) {
    if (!injected[i]) continue;
    const double length = (inverse_root * y.col(i)).norm();
    if (length > length_max) y.col(i) *= length_max / length;
  }

  const Eigen::VectorXd y_w = y.leftCols(k.parents) * k.weights.head(k.parents);  // eq. 41
  next.mean_ = mean_ + sigma_ * y_w;                                              // eq. 42

  next.p_sigma_ = (1 - k.c_sigma) * p_sigma_ + std::sqrt(k.c_sigma * (2 - k.c_sigma) * k.mu_eff) *
                                                   (inverse_root * y_w);  // eq. 43
  const double p_sigma_norm = next.p_sigma_.norm();
  double log_step = k.c_sigma / k.d_sigma * (p_sigma_norm / k.chi_n - 1);
  if (!published) log_step = std::min(1.0, log_step);
  next.sigma_ = std::clamp(sigma_ * std::exp(log_step), kSigmaMin, kSigmaMax);  // eq. 44

  const double exponent = 2.0 * static_cast<double>(generation_ + (published ? 2 : 1));
  const bool h_sigma = p_sigma_norm / std::sqrt(1 - std::pow(1 - k.c_sigma, exponent)) <
                       (1.4 + 2 / (n + 1)) * k.chi_n;
  next.p_c_ = (1 - k.c_c) * p_c_;  // eq. 45
  if (h_sigma) next.p_c_ += std::sqrt(k.c_c * (2 - k.c_c) * k.mu_eff) * y_w;

  Eigen::VectorXd weights = k.weights;  // eq. 46
  for (int i = 0; i < k.population; ++i) {
    if (weights[i] >= 0) continue;
    const double square =
        (inverse_root * y.col(i)).squaredNorm() + (published ? kPublishedEpsilon : 0.0);
    weights[i] = square > 0 ? weights[i] * n / square : 0.0;
  }
  const double delta = h_sigma ? 0.0 : k.c_c * (2 - k.c_c);
  next.raw_ = (1 + k.c_1 * delta - k.c_1 - k.c_mu * k.weights.sum()) * covariance_ +  // eq. 47
              k.c_1 * next.p_c_ * next.p_c_.transpose() +
              k.c_mu * y * weights.asDiagonal() * y.transpose();
  next.raw_ = ((next.raw_ + next.raw_.transpose()) / 2).eval();
  ++next.generation_;

  if (!next.mean_.allFinite() || !std::isfinite(next.sigma_) || !next.p_sigma_.allFinite() ||
      !next.p_c_.allFinite() || !next.raw_.allFinite()) {
    return absl::InternalError(absl::StrCat("the distribution is not finite after generation ",
                                            next.generation_, ": sigma ", next.sigma_,
                                            ", condition number ", condition_number()));
  }
  MG_RETURN_IF_ERROR(next.Decompose());
  *this = std::move(next);
  return absl::OkStatus();
}

std::string CmaState::StopReason() const {
  const double tolerance = 1e-12 * sigma0_;
  const Eigen::VectorXd deviation = covariance_.diagonal().cwiseSqrt() * sigma_;
  if (deviation.maxCoeff() < tolerance && (sigma_ * p_c_).cwiseAbs().maxCoeff() < tolerance) {
    return absl::StrCat("standard deviations are below ", tolerance, " in every coordinate");
  }
  if (deviation.maxCoeff() > kDeviationMax) {
    return absl::StrCat("the distribution is ", kDeviationMax,
                        " times wider than the range of a gene: it has diverged");
  }
  if (((mean_ + 0.2 * deviation).array() == mean_.array()).any()) {
    return "a step of 0.2 standard deviations no longer changes a coordinate of the mean";
  }
  const Eigen::Index axis = generation_ % constants_.dimension;
  if (((mean_ + 0.1 * sigma_ * scales_[axis] * basis_.col(axis)).array() == mean_.array()).all()) {
    return "a step of 0.1 standard deviations along an axis no longer changes the mean";
  }
  // The repair of small eigenvalues stops right at the limit.
  if (condition_number() > 0.99 * kConditionMax) {
    return absl::StrCat("condition number ", condition_number(), " of the covariance has reached ",
                        kConditionMax);
  }
  return "";
}

void CmaState::Save(StateWriter& writer) const {
  writer.Int("generation", generation_);
  writer.Doubles("sigma", {sigma_});
  writer.Doubles("mean", ToSpan(mean_));
  writer.Doubles("sigma_path", ToSpan(p_sigma_));
  writer.Doubles("covariance_path", ToSpan(p_c_));
  for (int i = 0; i < constants_.dimension; ++i) {
    writer.Doubles("covariance",
                   {raw_.col(i).data(), static_cast<size_t>(i) + 1});  // upper triangle
  }
}

void CmaState::Load(StateReader& reader) {
  const int n = constants_.dimension;
  generation_ = reader.Int("generation", 0, int64_t{1} << 53);
  const auto sigma = reader.Doubles("sigma", 1, kSigmaMin, kSigmaMax);
  const auto mean = reader.Doubles("mean", n, -kLarge, kLarge);
  const auto p_sigma = reader.Doubles("sigma_path", n, -kLarge, kLarge);
  const auto p_c = reader.Doubles("covariance_path", n, -kLarge, kLarge);
  for (int i = 0; i < n && reader.ok(); ++i) {
    const auto column = reader.Doubles("covariance", i + 1, -kLarge, kLarge);
    for (int j = 0; j <= i && reader.ok(); ++j) raw_(j, i) = raw_(i, j) = column[j];
  }
  if (!reader.ok()) return;
  sigma_ = sigma[0];
  mean_ = ToVector(mean);
  p_sigma_ = ToVector(p_sigma);
  p_c_ = ToVector(p_c);
  if (const absl::Status status = Decompose(); !status.ok()) reader.Fail(status.message());
}

}  // namespace merganser

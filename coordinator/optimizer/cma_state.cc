#include "coordinator/optimizer/cma_state.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/optimizer/dense_kernels.h"
#include "coordinator/optimizer/normal_distribution.h"

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
constexpr double kWideningMin = 1e-12;
constexpr double kWideningMax = 1e12;

Eigen::VectorXd ToVector(const std::vector<double>& values) {
  return Eigen::Map<const Eigen::VectorXd>(values.data(), static_cast<Eigen::Index>(values.size()));
}

absl::Span<const double> ToSpan(const Eigen::VectorXd& v) { return {v.data(), static_cast<size_t>(v.size())}; }

}  // namespace

CmaState::CmaState(CmaConstants constants, double mean, double sigma)
    : CmaState(constants, Eigen::VectorXd::Constant(constants.dimension, mean), Eigen::VectorXd::Ones(constants.dimension),
               sigma) {}

CmaState::CmaState(CmaConstants constants, Eigen::VectorXd mean, const Eigen::VectorXd& scale, double sigma, bool adaptive)
    : constants_(std::move(constants)), sigma0_(sigma), sigma_(sigma), mean_(std::move(mean)) {
  const int n = constants_.dimension;
  p_sigma_ = p_c_ = Eigen::VectorXd::Zero(n);
  widening_ = Eigen::VectorXd::Ones(n);
  if (adaptive) rates_.emplace(n);
  if (constants_.separable) {
    diagonal_ = scale.cwiseAbs2();
    return;
  }
  auto c = std::make_shared<Eigen::MatrixXd>(scale.cwiseAbs2().asDiagonal());
  if (scale.isOnes()) {  // any solver's answer, without its time
    covariance_ = c;
    root_ = std::make_shared<Root>(Root{c, *c, scale});
  } else {
    MakeRoot(std::move(c)).IgnoreError();  // a diagonal always converges
  }
}

bool CmaState::cholesky() const {
  return constants_.dimension > kEigenDimensionMax && constants_.variant == CmaVariant::kHansen && !rates_.has_value();
}

int64_t CmaState::root_interval() const {
  if (!cholesky()) return 1;
  const double every = 1 / (10.0 * constants_.dimension * (constants_.c_1 + constants_.c_mu));
  return std::max<int64_t>(1, static_cast<int64_t>(every));
}

Eigen::VectorXd CmaState::variances() const {
  return constants_.separable ? diagonal_ : Eigen::VectorXd(covariance_->diagonal());
}

double CmaState::condition_number() const {
  if (constants_.separable) return diagonal_.maxCoeff() / diagonal_.minCoeff();
  const double ratio = root_->scales.maxCoeff() / root_->scales.minCoeff();
  return ratio * ratio;
}

absl::Status CmaState::MakeRoot(std::shared_ptr<const Eigen::MatrixXd> source) {
  if (cholesky()) return MakeCholeskyRoot(std::move(source));
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(*source);
  if (solver.info() != Eigen::Success) {
    return absl::InternalError(absl::StrCat("eigenvalues of the covariance of generation ", generation_,
                                            " did not converge (dimension ", constants_.dimension, ")"));
  }
  Eigen::VectorXd eigenvalues = solver.eigenvalues();
  bool repaired = false;
  const bool published = constants_.variant == CmaVariant::kPublished;
  const double low = std::max(kEigenvalueMin, published ? 0.0 : eigenvalues.maxCoeff() / kConditionMax);
  for (double& value : eigenvalues) {
    if (value >= low) continue;
    value = published ? kPublishedEpsilon : low;
    repaired = true;
  }
  auto root = std::make_shared<Root>(Root{source, solver.eigenvectors(), eigenvalues.cwiseSqrt()});
  covariance_ =
      repaired ? std::make_shared<const Eigen::MatrixXd>(root->basis * eigenvalues.asDiagonal() * root->basis.transpose())
               : std::move(source);
  root_ = std::move(root);
  return absl::OkStatus();
}

absl::Status CmaState::MakeCholeskyRoot(std::shared_ptr<const Eigen::MatrixXd> source) {
  auto root = std::make_shared<Root>();
  root->source = source;
  covariance_ = source;
  root->basis = *source;
  const auto factorize = [&] { return Kernels().cholesky(root->basis.rows(), root->basis.data()); };
  if (!factorize()) {  // rounding has made an eigenvalue negative: the repair of the eigenvalue form
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(*source);
    const Eigen::VectorXd eigenvalues =
        solver.eigenvalues().cwiseMax(std::max(kEigenvalueMin, 10 * solver.eigenvalues().maxCoeff() / kConditionMax));
    covariance_ = std::make_shared<const Eigen::MatrixXd>(solver.eigenvectors() * eigenvalues.asDiagonal() *
                                                          solver.eigenvectors().transpose());
    root->basis = *covariance_;
    if (solver.info() != Eigen::Success || !factorize()) {
      return absl::InternalError(absl::StrCat("the covariance of generation ", generation_,
                                              " has no Cholesky factor (dimension ", constants_.dimension, ")"));
    }
  }
  root->scales = root->basis.diagonal();
  root_ = std::move(root);
  return absl::OkStatus();
}

Eigen::MatrixXd CmaState::DrawMany(absl::Span<Rng> rngs) const {
  const Eigen::Index n = constants_.dimension, count = static_cast<Eigen::Index>(rngs.size());
  Eigen::MatrixXd z(n, count);  // one stream after the other
  for (Eigen::Index k = 0; k < count; ++k) {
    Rng& rng = rngs[k];
    if (n <= kEigenDimensionMax || rng.position() % 2 != 0) {
      for (Eigen::Index i = 0; i < n; ++i) z(i, k) = rng.Normal();
      continue;
    }
    Kernels().normals(rng.key(), rng.stream(), rng.position() / 2, n, z.col(k).data());
    rng.SkipTo(rng.position() + 2 * static_cast<uint64_t>(n));
  }
  if (constants_.separable) {
    z = diagonal_.cwiseSqrt().asDiagonal() * z;
  } else {
    if (!cholesky()) z = root_->scales.asDiagonal() * z;
    Eigen::MatrixXd product(n, count);
    Kernels().multiply_in_order(n, count, cholesky(), root_->basis.data(), z.data(), product.data());
    z = std::move(product);
  }
  return (sigma_ * (widening_.asDiagonal() * z)).colwise() + mean_;
}

Eigen::VectorXd CmaState::Draw(Rng& rng) const { return DrawMany({&rng, 1}).col(0); }

Eigen::VectorXd CmaState::DrawInBox(Rng& rng, int tries) const {
  Eigen::VectorXd x;
  for (int attempt = 0; attempt <= tries; ++attempt) {
    x = Draw(rng);
    if (x.minCoeff() >= 0 && x.maxCoeff() <= 1) break;
  }
  return x.cwiseMax(0.0).cwiseMin(1.0);
}

Eigen::MatrixXd CmaState::Whiten(const Eigen::MatrixXd& y) const {
  if (constants_.separable) return diagonal_.cwiseSqrt().cwiseInverse().asDiagonal() * y;
  if (cholesky()) {
    Eigen::MatrixXd white = y;
    Kernels().solve_lower(y.rows(), y.cols(), /*transposed=*/false, root_->basis.data(), white.data());
    return white;
  }
  return root_->basis * (root_->scales.cwiseInverse().asDiagonal() * (root_->basis.transpose() * y));
}

void CmaState::UpdateCovariance(const Eigen::MatrixXd& y, const Eigen::VectorXd& weights, bool h_sigma,
                                CmaState& next) const {
  const CmaConstants& k = constants_;
  const double delta = h_sigma ? 0.0 : k.c_c * (2 - k.c_c);
  const double keep = 1 + k.c_1 * delta - k.c_1 - k.c_mu * k.weights.sum();
  if (k.separable) {
    next.diagonal_ = keep * diagonal_ + k.c_1 * next.p_c_.cwiseAbs2() + k.c_mu * (y.cwiseAbs2() * weights);
    next.diagonal_ = next.diagonal_.cwiseMax(std::max(kEigenvalueMin, next.diagonal_.maxCoeff() / kConditionMax));
    return;
  }
  Eigen::MatrixXd points(y.rows(), y.cols() + 1);
  points << y, next.p_c_;
  Eigen::VectorXd shares(y.cols() + 1);
  shares << k.c_mu * weights, k.c_1;
  auto c = std::make_shared<Eigen::MatrixXd>(y.rows(), y.rows());
  Kernels().update_symmetric(points.rows(), points.cols(), keep, covariance_->data(), points.data(), shares.data(),
                             c->data());
  next.covariance_ = std::move(c);
}

bool CmaState::IsFinite() const {
  return mean_.allFinite() && std::isfinite(sigma_) && p_sigma_.allFinite() && p_c_.allFinite() &&
         (constants_.separable ? diagonal_.allFinite() : covariance_->allFinite());
}

absl::Status CmaState::AdaptRates(CmaState& next) const {
  if (!rates_.has_value()) return absl::OkStatus();
  const Eigen::MatrixXd inverse_root =
      root_->basis * (root_->scales.cwiseInverse() / sigma_).asDiagonal() * root_->basis.transpose();
  Eigen::MatrixXd c = *next.covariance_;
  if (next.rates_->Apply(mean_, sigma_ * sigma_ * *covariance_, inverse_root, next.mean_, next.sigma_, c)) {
    next.sigma_ = std::clamp(next.sigma_, kSigmaMin, kSigmaMax);
    next.covariance_ = std::make_shared<const Eigen::MatrixXd>((c + c.transpose()) / 2);
  }
  return next.IsFinite() ? absl::OkStatus() : absl::InternalError("the adapted distribution is not finite");
}

absl::Status CmaState::Update(const Eigen::MatrixXd& x, const std::vector<bool>& injected) {
  const CmaConstants& k = constants_;
  const double n = k.dimension;
  if (x.rows() != k.dimension || x.cols() != k.population || static_cast<int>(injected.size()) != k.population) {
    return absl::InvalidArgumentError(absl::StrCat("generation of ", x.cols(), " genomes of ", x.rows(), " numbers, not ",
                                                   k.population, " of ", k.dimension));
  }
  if (!x.allFinite()) return absl::InvalidArgumentError("a genome holds a number that is not finite");
  const bool published = k.variant == CmaVariant::kPublished;

  CmaState next = *this;
  Eigen::MatrixXd y = widening_.cwiseInverse().asDiagonal() * (x.colwise() - mean_);  // [n, lambda]
  y /= sigma_;
  const double length_max = std::sqrt(n) + 2 * n / (n + 2);  // arXiv 1110.4181, eq. 4 with c_y
  for (int i = 0; i < k.population; ++i) {
    if (!injected[i]) continue;
    const double length = Whiten(y.col(i)).norm();
    if (length > length_max) y.col(i) *= length_max / length;
  }

  const Eigen::VectorXd y_w = y.leftCols(k.parents) * k.weights.head(k.parents);  // eq. 41
  next.mean_ = mean_ + sigma_ * y_w;                                              // eq. 42

  const int rest = k.population - k.parents;
  Eigen::MatrixXd to_whiten(k.dimension, 1 + rest);
  to_whiten << y_w, y.rightCols(rest);
  const Eigen::MatrixXd white = Whiten(to_whiten);
  next.p_sigma_ = (1 - k.c_sigma) * p_sigma_ + std::sqrt(k.c_sigma * (2 - k.c_sigma) * k.mu_eff) * white.col(0);  // eq. 43
  const double p_sigma_norm = next.p_sigma_.norm();
  double log_step = k.c_sigma / k.d_sigma * (p_sigma_norm / k.chi_n - 1);
  if (!published) log_step = std::min(1.0, log_step);
  next.sigma_ = std::clamp(sigma_ * std::exp(log_step), kSigmaMin, kSigmaMax);  // eq. 44

  const double exponent = 2.0 * static_cast<double>(generation_ + (published ? 2 : 1));
  const bool h_sigma = p_sigma_norm / std::sqrt(1 - std::pow(1 - k.c_sigma, exponent)) < (1.4 + 2 / (n + 1)) * k.chi_n;
  next.p_c_ = (1 - k.c_c) * p_c_;  // eq. 45
  if (h_sigma) next.p_c_ += std::sqrt(k.c_c * (2 - k.c_c) * k.mu_eff) * y_w;

  Eigen::VectorXd weights = k.weights;  // eq. 46
  for (int i = k.parents; i < k.population; ++i) {
    const double square = white.col(1 + i - k.parents).squaredNorm() + (published ? kPublishedEpsilon : 0.0);
    weights[i] = square > 0 ? weights[i] * n / square : 0.0;
  }
  UpdateCovariance(y, weights, h_sigma, next);  // eq. 47
  ++next.generation_;

  if (!next.IsFinite()) {
    return absl::InternalError(absl::StrCat("the distribution is not finite after generation ", next.generation_, ": sigma ",
                                            next.sigma_, ", condition number ", condition_number()));
  }
  MG_RETURN_IF_ERROR(AdaptRates(next));
  if (!k.separable && next.generation_ >= next.root_generation_ + root_interval()) {
    MG_RETURN_IF_ERROR(next.MakeRoot(next.covariance_));
    next.root_generation_ = next.generation_;
  }
  *this = std::move(next);
  return absl::OkStatus();
}

void CmaState::KeepMargin(absl::Span<const int> levels, double alpha) {
  const Eigen::VectorXd deviations = variances().cwiseSqrt() * sigma_;
  for (int i = 0; i < constants_.dimension; ++i) {
    if (levels[i] < 2) continue;
    const double width = 1.0 / levels[i];
    double& mean = mean_[i];
    const double deviation = std::clamp(deviations[i], 1e-150, 1e150);
    // The outer levels have no far end: a mean beyond the box is as good as one inside.
    const int level = static_cast<int>(std::floor(std::clamp(mean * levels[i], 0.0, static_cast<double>(levels[i] - 1))));
    const double low = level * width, up = (level + 1) * width;
    if (level == 0 || level == levels[i] - 1) {  // one neighbour only: eq. 14, 15 of the paper
      const double edge = level == 0 ? up : low;
      const double reach = deviation * widening_[i] * NormalQuantile(1 - alpha);
      mean = level == 0 ? std::max(mean, edge - reach) : std::min(mean, edge + reach);
      continue;
    }
    const double wide = deviation * widening_[i];
    const double p_low = NormalCdf((low - mean) / wide), p_up = NormalCdf((mean - up) / wide);
    const double p_mid = 1 - p_low - p_up;
    double q_low = std::max(p_low, alpha / 2), q_up = std::max(p_up, alpha / 2);  // eq. 20
    const double share = (1 - q_low - q_up - p_mid) / (q_low + q_up + p_mid - 3 * alpha / 2);
    q_low += share * (q_low - alpha / 2);  // eq. 22
    q_up += share * (q_up - alpha / 2);    // eq. 23
    if (q_low == p_low && q_up == p_up) continue;
    const double to_low = NormalQuantile(1 - std::clamp(q_low, 1e-12, 0.5 - 1e-8));
    const double to_up = NormalQuantile(1 - std::clamp(q_up, 1e-12, 0.5 - 1e-8));
    widening_[i] = std::clamp(width / (deviation * (to_low + to_up)), kWideningMin, kWideningMax);
    mean = (low * to_up + up * to_low) / (to_low + to_up);  // eq. 24
  }
}

std::string CmaState::StopReason() const {
  const double tolerance = 1e-12 * sigma0_;
  const Eigen::VectorXd deviation = variances().cwiseSqrt().cwiseProduct(widening_) * sigma_;
  if (deviation.maxCoeff() < tolerance && (sigma_ * p_c_).cwiseAbs().maxCoeff() < tolerance) {
    return absl::StrCat("standard deviations are below ", tolerance, " in every coordinate");
  }
  if (deviation.maxCoeff() > kDeviationMax) {
    return absl::StrCat("the distribution is ", kDeviationMax, " times wider than the range of a gene: it has diverged");
  }
  if (((mean_ + 0.2 * deviation).array() == mean_.array()).any()) {
    return "a step of 0.2 standard deviations no longer changes a coordinate of the mean";
  }
  if (!constants_.separable) {
    const Eigen::Index axis = generation_ % constants_.dimension;
    const double scale = cholesky() ? 1.0 : root_->scales[axis];
    if (((mean_ + 0.1 * sigma_ * scale * root_->basis.col(axis)).array() == mean_.array()).all()) {
      return "a step of 0.1 standard deviations along an axis no longer changes the mean";
    }
  }
  // The repair of small eigenvalues stops right at the limit.
  if (condition_number() > 0.99 * kConditionMax) {
    return absl::StrCat("condition number ", condition_number(), " of the covariance has reached ", kConditionMax);
  }
  return "";
}

namespace {

void SaveSymmetric(const Eigen::MatrixXd& matrix, StateWriter& writer) {
  for (Eigen::Index i = 0; i < matrix.cols(); ++i) {
    writer.Doubles("covariance", {matrix.col(i).data(), static_cast<size_t>(i) + 1});  // upper triangle
  }
}

std::shared_ptr<const Eigen::MatrixXd> LoadSymmetric(StateReader& reader, int n) {
  auto matrix = std::make_shared<Eigen::MatrixXd>(n, n);
  for (int i = 0; i < n && reader.ok(); ++i) {
    const auto column = reader.Doubles("covariance", i + 1, -kLarge, kLarge);
    for (int j = 0; j <= i && reader.ok(); ++j) (*matrix)(j, i) = (*matrix)(i, j) = column[j];
  }
  return matrix;
}

}  // namespace

void CmaState::Save(StateWriter& writer) const {
  writer.Int("generation", generation_);
  writer.Doubles("sigma", {sigma_});
  writer.Doubles("mean", ToSpan(mean_));
  writer.Doubles("widening", ToSpan(widening_));
  writer.Doubles("sigma_path", ToSpan(p_sigma_));
  writer.Doubles("covariance_path", ToSpan(p_c_));
  if (rates_.has_value()) rates_->Save(writer);
  if (constants_.separable) {
    writer.Doubles("diagonal", ToSpan(diagonal_));
    return;
  }
  writer.Int("root_generation", root_generation_);
  SaveSymmetric(*root_->source, writer);
  const bool newer = generation_ != root_generation_;
  writer.Int("newer_covariance", newer ? 1 : 0);
  if (newer) SaveSymmetric(*covariance_, writer);
}

void CmaState::Load(StateReader& reader) {
  const int n = constants_.dimension;
  generation_ = reader.Int("generation", 0, int64_t{1} << 53);
  const auto sigma = reader.Doubles("sigma", 1, kSigmaMin, kSigmaMax);
  const auto mean = reader.Doubles("mean", n, -kLarge, kLarge);
  const auto widening = reader.Doubles("widening", n, kWideningMin, kWideningMax);
  const auto p_sigma = reader.Doubles("sigma_path", n, -kLarge, kLarge);
  const auto p_c = reader.Doubles("covariance_path", n, -kLarge, kLarge);
  if (!reader.ok()) return;
  sigma_ = sigma[0];
  mean_ = ToVector(mean);
  widening_ = ToVector(widening);
  p_sigma_ = ToVector(p_sigma);
  p_c_ = ToVector(p_c);
  if (rates_.has_value()) rates_->Load(reader);
  if (constants_.separable) {
    const auto diagonal = reader.Doubles("diagonal", n, kEigenvalueMin, kLarge);
    if (reader.ok()) diagonal_ = ToVector(diagonal);
    return;
  }
  root_generation_ = reader.Int("root_generation", 0, generation_);
  auto source = LoadSymmetric(reader, n);
  const bool newer = reader.Int("newer_covariance", 0, 1) == 1;
  auto covariance = newer ? LoadSymmetric(reader, n) : nullptr;
  if (!reader.ok()) return;
  if (const absl::Status status = MakeRoot(std::move(source)); !status.ok()) {
    return reader.Fail(status.message());
  }
  if (newer) covariance_ = std::move(covariance);
}

}  // namespace merganser

#include "coordinator/optimizer/gaussian_process.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "coordinator/optimizer/dense_kernels.h"

namespace merganser {
namespace {

// Lengths are tried as shares of the box's diagonal; noise variances as shares of the prior's.
constexpr double kLengths[] = {0.05, 0.1, 0.2, 0.4, 0.8, 1.6};
constexpr double kNoises[] = {1e-6, 1e-3, 1e-2, 1e-1, 0.5};

// Matern 5/2 of squared distances over length.
Eigen::MatrixXd Matern(const Eigen::MatrixXd& squares, double length) {
  const Eigen::ArrayXXd r = (5 * squares.array().max(0.0)).sqrt() / length;
  return ((1 + r + r.square() / 3) * (-r).exp()).matrix();
}

Eigen::MatrixXd Squares(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  Eigen::MatrixXd squares = -2 * a * b.transpose();
  squares.colwise() += a.rowwise().squaredNorm();
  squares.rowwise() += b.rowwise().squaredNorm().transpose();
  return squares;
}

// root^-1 b, or root^-T b where `transposed`.
Eigen::MatrixXd Solve(const Eigen::MatrixXd& root, Eigen::MatrixXd b, bool transposed = false) {
  Kernels().solve_lower(b.rows(), b.cols(), transposed, root.data(), b.data());
  return b;
}

}  // namespace

Eigen::MatrixXd GaussianProcess::Features(const std::vector<std::vector<double>>& genomes) const {
  Eigen::Index columns = 0;
  for (const Gene& gene : genes_) columns += gene.kind == Gene::Kind::kCategorical ? gene.levels : 1;
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(static_cast<Eigen::Index>(genomes.size()), columns);
  for (size_t row = 0; row < genomes.size(); ++row) {
    Eigen::Index at = 0;
    for (size_t i = 0; i < genes_.size(); ++i) {
      const Gene& gene = genes_[i];
      if (gene.kind == Gene::Kind::kCategorical) {
        x(static_cast<Eigen::Index>(row), at + gene.LevelOf(genomes[row][i])) = 0.5 / std::sqrt(2.0);
        at += gene.levels;
      } else {
        x(static_cast<Eigen::Index>(row), at++) = genomes[row][i];
      }
    }
  }
  return x;
}

Eigen::MatrixXd GaussianProcess::Kernel(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) const {
  return Matern(Squares(a, b), length_);
}

GaussianProcess::GaussianProcess(const GenomeSpec& spec, const std::vector<std::vector<double>>& genomes,
                                 const std::vector<double>& values)
    : genes_(spec.genes), x_(Features(genomes)) {
  const Eigen::Index n = static_cast<Eigen::Index>(values.size());
  Eigen::VectorXd y = Eigen::Map<const Eigen::VectorXd>(values.data(), n);
  offset_ = y.mean();
  y.array() -= offset_;
  const Eigen::MatrixXd squares = Squares(x_, x_);
  const double diagonal = std::sqrt(static_cast<double>(genes_.size()));
  double best = -std::numeric_limits<double>::infinity();
  for (const double share : kLengths) {
    const Eigen::MatrixXd kernel = Matern(squares, share * diagonal);
    for (const double noise : kNoises) {
      Eigen::MatrixXd root = kernel;
      root.diagonal().array() += noise;
      if (!Kernels().cholesky(n, root.data())) continue;
      Eigen::VectorXd white = Solve(root, y);
      // Eq. 2.30 with the prior variance at its maximum, white^2 / n.
      const double variance = std::max(1e-300, white.squaredNorm() / static_cast<double>(n));
      const double log_determinant = 2 * root.diagonal().array().log().sum();
      const double likelihood = -0.5 * (static_cast<double>(n) * std::log(variance) + log_determinant);
      if (likelihood <= best) continue;
      best = likelihood;
      length_ = share * diagonal;
      noise_ = noise;
      variance_ = variance;
      root_ = std::move(root);
      white_ = std::move(white);
    }
  }
}

void GaussianProcess::Believe(const std::vector<double>& genome) {
  const Eigen::MatrixXd features = Features({genome});
  const Eigen::Index n = x_.rows();
  const Eigen::VectorXd row = Solve(root_, Kernel(x_, features)).col(0);
  Eigen::MatrixXd root = Eigen::MatrixXd::Zero(n + 1, n + 1);
  root.topLeftCorner(n, n) = root_;
  root.row(n).head(n) = row.transpose();
  root(n, n) = std::sqrt(std::max(1e-12, 1 + noise_ - row.squaredNorm()));
  root_ = std::move(root);
  x_.conservativeResize(n + 1, Eigen::NoChange);
  x_.row(n) = features.row(0);
  white_.conservativeResize(n + 1);
  white_[n] = 0;  // the observation is the prediction
}

GaussianProcess::Prediction GaussianProcess::Predict(const std::vector<std::vector<double>>& genomes) const {
  const Eigen::MatrixXd v = Solve(root_, Kernel(x_, Features(genomes)));  // [n, m]
  const Eigen::VectorXd mean = (v.transpose() * white_).array() + offset_;
  const Eigen::ArrayXd left = (1 - v.colwise().squaredNorm().transpose().array()).max(0.0);
  return {mean, (variance_ * left).sqrt().matrix()};
}

Eigen::MatrixXd GaussianProcess::Coefficients(const Eigen::MatrixXd& values) const {
  return Solve(root_, Solve(root_, values), /*transposed=*/true);  // (K + noise I)^-1 values
}

Eigen::MatrixXd GaussianProcess::Means(const std::vector<std::vector<double>>& genomes,
                                       const Eigen::MatrixXd& coefficients) const {
  return Kernel(Features(genomes), x_) * coefficients;
}

}  // namespace merganser

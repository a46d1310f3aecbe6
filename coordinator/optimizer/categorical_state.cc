#include "coordinator/optimizer/categorical_state.h"

#include <algorithm>
#include <cmath>

namespace merganser {
namespace {

constexpr double kAlpha = 1.5;  // of the signal-to-noise ratio
constexpr double kTrustMin = 1e-12;
constexpr double kTrustMax = 1e12;
constexpr double kLarge = 1e150;

}  // namespace

CategoricalState::CategoricalState(const std::vector<Gene>& genes, int discrete_genes)
    : margin_(1 - std::pow(0.73, 1.0 / std::max(1, discrete_genes))) {
  for (const Gene& gene : genes) {
    parameters_ += gene.levels - 1;
    probabilities_.push_back(Eigen::VectorXd::Constant(gene.levels, 1.0 / gene.levels));
    if (gene.levels == 2) probabilities_.back() << 1 - gene.start, gene.start;
  }
  signal_ = Eigen::VectorXd::Zero(parameters_);
  KeepMargin();
}

void CategoricalState::KeepMargin() {
  for (Eigen::VectorXd& q : probabilities_) {
    const double low = margin_ / static_cast<double>(q.size() - 1);  // q_min
    q = q.cwiseMax(low);
    const double sum = q.sum(), above = sum - low * static_cast<double>(q.size());
    if (above > 0) q -= (sum - 1) / above * (q.array() - low).matrix();
    q /= q.sum();
  }
}

std::vector<int> CategoricalState::Draw(Rng& rng) const {
  std::vector<int> levels;
  for (const Eigen::VectorXd& q : probabilities_) {
    double left = rng.Uniform();
    int level = 0;
    while (level + 1 < q.size() && left >= q[level]) left -= q[level++];
    levels.push_back(level);
  }
  return levels;
}

std::vector<int> CategoricalState::Mode() const {
  std::vector<int> levels;
  for (const Eigen::VectorXd& q : probabilities_) {
    Eigen::Index level = 0;
    q.maxCoeff(&level);
    levels.push_back(static_cast<int>(level));
  }
  return levels;
}

void CategoricalState::Update(const std::vector<std::vector<int>>& levels, absl::Span<const double> weights) {
  std::vector<Eigen::VectorXd> gradient;
  Eigen::VectorXd scaled(parameters_);  // by the root of the Fisher matrix (ASNG, appendix B)
  Eigen::Index at = 0;
  for (int gene = 0; gene < count(); ++gene) {
    const Eigen::VectorXd& q = probabilities_[gene];
    Eigen::VectorXd g = Eigen::VectorXd::Zero(q.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      g -= weights[i] * q;
      g[levels[i][gene]] += weights[i];
    }
    const Eigen::Index free = q.size() - 1;
    const double last = q[free];
    const double sum = g.head(free).sum() / (last + std::sqrt(last));
    scaled.segment(at, free) =
        (g.head(free).array() / q.head(free).array().sqrt() + q.head(free).array().sqrt() * sum).matrix();
    at += free;
    gradient.push_back(std::move(g));
  }
  const double norm = scaled.norm();
  if (!(norm > 1e-12)) return;  // the selected agree with the distribution: nothing to learn
  const double step = 1 / trust_;
  for (int gene = 0; gene < count(); ++gene) probabilities_[gene] += step / norm * gradient[gene];

  const double beta = std::min(1.0, step / std::sqrt(parameters_));
  signal_ = (1 - beta) * signal_ + std::sqrt(beta * (2 - beta)) / norm * scaled;
  signal_weight_ = (1 - beta) * (1 - beta) * signal_weight_ + beta * (2 - beta);
  trust_ *= std::exp(beta * (signal_weight_ - signal_.squaredNorm() / kAlpha));
  trust_ = std::clamp(trust_, kTrustMin, kTrustMax);
  KeepMargin();
}

void CategoricalState::Save(StateWriter& writer) const {
  for (const Eigen::VectorXd& q : probabilities_) writer.Doubles("probabilities", {q.data(), static_cast<size_t>(q.size())});
  writer.Doubles("signal", {signal_.data(), static_cast<size_t>(signal_.size())});
  writer.Doubles("trust", {trust_, signal_weight_});
}

void CategoricalState::Load(StateReader& reader) {
  for (Eigen::VectorXd& q : probabilities_) {
    const auto loaded = reader.Doubles("probabilities", q.size(), 0, 1);
    if (!reader.ok()) return;
    q = Eigen::Map<const Eigen::VectorXd>(loaded.data(), q.size());
    if (!(std::abs(q.sum() - 1) < 1e-6 && q.minCoeff() > 0))
      return reader.Fail("probabilities are not above 0 with a sum of 1");
  }
  const auto signal = reader.Doubles("signal", parameters_, -kLarge, kLarge);
  const auto trust = reader.Doubles("trust", 2, 0, kLarge);
  if (!reader.ok()) return;
  if (trust[0] < kTrustMin || trust[0] > kTrustMax) return reader.Fail("trust is out of its range");
  signal_ = Eigen::Map<const Eigen::VectorXd>(signal.data(), parameters_);
  trust_ = trust[0];
  signal_weight_ = trust[1];
}

}  // namespace merganser

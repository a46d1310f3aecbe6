// The search distribution of CMA-ES, N(mean, sigma^2 A C A), and its update from one ranked generation.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_CMA_STATE_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_CMA_STATE_H_

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/rng.h"
#include "coordinator/optimizer/cma_constants.h"
#include "coordinator/optimizer/learning_rates.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// Pure linear algebra: knows no fitness, no ids and, but for DrawInBox, no bounds. A copyable
// value; copies share their matrices. Not thread-safe.
//
// C is held in full, or as its diagonal (separable). Samples are mean + sigma A R z, z ~ N(0, I),
// where R R^T = C: up to kEigenDimensionMax dimensions (and for every kPublished or adaptive one) R
// = B D from eigenvalues, as in the tutorial. Beyond, R is the Cholesky factor: the same
// distribution at a tenth of the cost, with the evolution path of sigma kept in R's coordinates (T.
// Suttorp, N. Hansen, C. Igel, "Efficient covariance matrix update for variable metric evolution
// strategies", Machine Learning 75, 2009); R is then renewed only every
// 1/(10 n (c_1 + c_mu)) generations (tutorial, B.2).
class CmaState {
 public:
  static constexpr int kEigenDimensionMax = 40;

  // C = I. REQUIRES: sigma > 0, both finite.
  CmaState(CmaConstants constants, double mean, double sigma);
  // C = diag(scale)^2. REQUIRES: sigma and every scale > 0, all finite, [dimension] each.
  // `adaptive`: learning rates follow the signal (learning_rates.h); not with separable constants.
  CmaState(CmaConstants constants, Eigen::VectorXd mean, const Eigen::VectorXd& scale, double sigma, bool adaptive = false);

  const CmaConstants& constants() const { return constants_; }
  int64_t generation() const { return generation_; }  // updates made
  const Eigen::VectorXd& mean() const { return mean_; }
  double sigma() const { return sigma_; }
  // C, without sigma and A. REQUIRES: not separable.
  const Eigen::MatrixXd& covariance() const { return *covariance_; }
  Eigen::VectorXd variances() const;  // diagonal of C
  // A, [dimension]: what KeepMargin has widened; 1 elsewhere.
  const Eigen::VectorXd& widening() const { return widening_; }
  const Eigen::VectorXd& sigma_path() const { return p_sigma_; }
  const Eigen::VectorXd& covariance_path() const { return p_c_; }
  const std::optional<LearningRates>& learning_rates() const { return rates_; }
  // Of C: largest over smallest eigenvalue. With a Cholesky factor: of its squared diagonal, a
  // lower bound.
  double condition_number() const;

  // A point of the distribution, [dimension].
  Eigen::VectorXd Draw(Rng& rng) const;
  // Column i is Draw(rngs[i]), bit for bit.
  Eigen::MatrixXd DrawMany(absl::Span<Rng> rngs) const;
  // A point inside [0, 1]^dimension: the first of `tries` draws that lies inside, else one more
  // draw that is clipped.
  Eigen::VectorXd DrawInBox(Rng& rng, int tries) const;

  // Learns from one generation: `x` is [dimension, population], a column per candidate, best first.
  // Columns whose `injected` is true were drawn from an older distribution; their step is shortened
  // to a length that this distribution could have drawn (N. Hansen, "Injecting external solutions
  // into CMA-ES", arXiv 1110.4181). InvalidArgument for a wrong shape or numbers that are not
  // finite; Internal if the result would not be finite. The state is unchanged on error.
  absl::Status Update(const Eigen::MatrixXd& x, const std::vector<bool>& injected);

  // The margin of R. Hamano et al., "CMA-ES with Margin" (GECCO 2022, arXiv 2205.13482): moves the
  // mean and widens A so that coordinate i, where levels[i] >= 2, falls into another of its levels
  // (equal parts of [0, 1]) with a probability of at least `alpha`; so no level is ever lost for
  // good. REQUIRES: levels is [dimension], alpha in (0, 1/3).
  void KeepMargin(absl::Span<const int> levels, double alpha);

  // Why further sampling cannot make progress, or "". The limits are those of the `cmaes` library,
  // but: the standard deviation is compared, not its square; the condition number of C is at most
  // 1e14; a distribution ten times wider than the range of a gene has diverged. (DrawInBox ends
  // like that, as the library does, once it has come within about 0.01 of a corner: nearly every
  // draw is clipped, sigma grows and the mean drifts away.)
  std::string StopReason() const;

  void Save(StateWriter& writer) const;
  // The constants and sigma0 stay as constructed. Check reader.ok() afterwards.
  void Load(StateReader& reader);

 private:
  // R and the C that it was made from. A function of that C alone, so that a restored state samples
  // alike bit for bit.
  struct Root {
    std::shared_ptr<const Eigen::MatrixXd> source;  // C as eq. 47 gave it
    // Eigenvectors as columns and the square roots of the (repaired) eigenvalues; or the lower
    // Cholesky factor and its diagonal.
    Eigen::MatrixXd basis;   // [n, n]
    Eigen::VectorXd scales;  // [n]
  };
  bool cholesky() const;
  // Generations between two roots.
  int64_t root_interval() const;
  // root_ of `source`, and covariance_ = source or its repair. Internal if the solver does not
  // converge.
  absl::Status MakeRoot(std::shared_ptr<const Eigen::MatrixXd> source);
  absl::Status MakeCholeskyRoot(std::shared_ptr<const Eigen::MatrixXd> source);
  // C^-1/2 y, or R^-1 y with a Cholesky factor; [n, m].
  Eigen::MatrixXd Whiten(const Eigen::MatrixXd& y) const;
  // Eq. 47 on C, in full or its diagonal. `weights` are those of eq. 46.
  void UpdateCovariance(const Eigen::MatrixXd& y, const Eigen::VectorXd& weights, bool h_sigma, CmaState& next) const;
  // The adapted learning rates (LearningRates) on the step from this state to `next`, where they are in use. Internal if
  // what results is not finite.
  absl::Status AdaptRates(CmaState& next) const;
  bool IsFinite() const;

  CmaConstants constants_;
  double sigma0_;
  int64_t generation_ = 0;
  double sigma_;
  Eigen::VectorXd mean_;      // [n]
  Eigen::VectorXd widening_;  // [n]
  Eigen::VectorXd p_sigma_;   // [n]
  Eigen::VectorXd p_c_;       // [n]
  std::optional<LearningRates> rates_;
  // Full:
  std::shared_ptr<const Eigen::MatrixXd> covariance_;  // [n, n]
  std::shared_ptr<const Root> root_;
  int64_t root_generation_ = 0;
  // Separable:
  Eigen::VectorXd diagonal_;  // [n]
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_CMA_STATE_H_

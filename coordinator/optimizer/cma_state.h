// The search distribution of CMA-ES, N(mean, sigma^2 C), and its update from one ranked generation.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_CMA_STATE_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_CMA_STATE_H_

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/rng.h"
#include "coordinator/optimizer/cma_constants.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// Pure linear algebra: knows no fitness, no ids and, but for DrawInBox, no bounds. A copyable
// value. Not thread-safe.
class CmaState {
 public:
  // C = I. REQUIRES: sigma > 0, both finite.
  CmaState(CmaConstants constants, double mean, double sigma);
  // C = diag(scale)^2. REQUIRES: sigma and every scale > 0, all finite, [dimension] each.
  CmaState(CmaConstants constants, Eigen::VectorXd mean, const Eigen::VectorXd& scale,
           double sigma);

  const CmaConstants& constants() const { return constants_; }
  int64_t generation() const { return generation_; }  // updates made
  const Eigen::VectorXd& mean() const { return mean_; }
  double sigma() const { return sigma_; }
  const Eigen::MatrixXd& covariance() const { return covariance_; }  // C, without sigma
  const Eigen::VectorXd& sigma_path() const { return p_sigma_; }
  const Eigen::VectorXd& covariance_path() const { return p_c_; }
  // Of C: largest over smallest eigenvalue.
  double condition_number() const;

  // A point of the distribution, [dimension].
  Eigen::VectorXd Draw(Rng& rng) const;
  // A point inside [0, 1]^dimension: the first of `tries` draws that lies inside, else one more
  // draw that is clipped.
  Eigen::VectorXd DrawInBox(Rng& rng, int tries) const;

  // Learns from one generation: `x` is [dimension, population], a column per candidate, best first.
  // Columns whose `injected` is true were drawn from an older distribution; their step is shortened
  // to a length that this distribution could have drawn (N. Hansen, "Injecting external solutions
  // into CMA-ES", arXiv 1110.4181). InvalidArgument for a wrong shape or numbers that are not
  // finite; Internal if the result would not be finite. The state is unchanged on error.
  absl::Status Update(const Eigen::MatrixXd& x, const std::vector<bool>& injected);

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
  // basis_, scales_, covariance_ from raw_. Internal if the solver does not converge.
  absl::Status Decompose();

  CmaConstants constants_;
  double sigma0_;
  int64_t generation_ = 0;
  double sigma_;
  Eigen::VectorXd mean_;     // [n]
  Eigen::VectorXd p_sigma_;  // [n]
  Eigen::VectorXd p_c_;      // [n]
  // C as eq. 47 gives it. What follows is a function of it alone, so that a restored state samples
  // alike bit for bit.
  Eigen::MatrixXd raw_;         // [n, n]
  Eigen::MatrixXd basis_;       // B, [n, n], eigenvectors as columns
  Eigen::VectorXd scales_;      // D, [n], square roots of the (repaired) eigenvalues
  Eigen::MatrixXd covariance_;  // raw_, or B D^2 B^T where an eigenvalue was repaired
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_CMA_STATE_H_

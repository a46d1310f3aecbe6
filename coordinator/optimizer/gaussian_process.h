// Exact Gaussian-process regression (C. Rasmussen, C. Williams, "Gaussian Processes for Machine
// Learning", 2006, algorithm 2.1) with a Matern 5/2 kernel of one length.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_GAUSSIAN_PROCESS_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_GAUSSIAN_PROCESS_H_

#include <Eigen/Core>
#include <vector>

#include "coordinator/optimizer/genome.h"

namespace merganser {

// A copyable value. Values are standardised inside; means and deviations are given in the caller's
// units.
class GaussianProcess {
 public:
  struct Prediction {
    Eigen::VectorXd mean;       // [m]
    Eigen::VectorXd deviation;  // [m], of the function, without noise
  };

  // Length and noise maximise the marginal likelihood over a grid (the prior variance in closed
  // form). Genomes are points of `spec`'s box; two levels of a categorical gene are at distance
  // 0.5 from each other, whichever they are. REQUIRES: at least two genomes, values not all equal.
  GaussianProcess(const GenomeSpec& spec, const std::vector<std::vector<double>>& genomes,
                  const std::vector<double>& values);

  // Adds a genome as if it had been observed at its predicted mean: means stay, deviations shrink.
  void Believe(const std::vector<double>& genome);

  Prediction Predict(const std::vector<std::vector<double>>& genomes) const;

  // The same kernel for many values at once. For values [observed, k] at the constructor's genomes, in place of its own and
  // each column's mean taken off, Coefficients gives what Means needs for their predicted means at any genomes, [m, k].
  // REQUIRES: nothing was believed.
  Eigen::MatrixXd Coefficients(const Eigen::MatrixXd& values) const;
  Eigen::MatrixXd Means(const std::vector<std::vector<double>>& genomes, const Eigen::MatrixXd& coefficients) const;

  double length() const { return length_; }  // of the kernel
  double noise() const { return noise_; }    // variance, as a share of the prior variance

 private:
  // A row per genome, categorical genes one-hot.
  Eigen::MatrixXd Features(const std::vector<std::vector<double>>& genomes) const;
  Eigen::MatrixXd Kernel(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) const;

  std::vector<Gene> genes_;
  double length_ = 1;
  double noise_ = 1e-6;
  double offset_ = 0;      // of the values
  double variance_ = 1;    // of the prior, in the values' units
  Eigen::MatrixXd x_;      // [n, features]
  Eigen::MatrixXd root_;   // [n, n], lower Cholesky factor of K + noise I
  Eigen::VectorXd white_;  // root^-1 (y - offset), [n]
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_GAUSSIAN_PROCESS_H_

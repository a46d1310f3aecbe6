// Learning-rate adaptation for CMA-ES: M. Nomura, Y. Akimoto, I. Ono, "CMA-ES with Learning Rate
// Adaptation" (arXiv 2304.03473, 2401.15876): keeps the signal-to-noise ratio of the updates
// constant, so that the default population copes with noise and with many local optima.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_LEARNING_RATES_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_LEARNING_RATES_H_

#include <Eigen/Core>

#include "coordinator/optimizer/state_text.h"

namespace merganser {

// A copyable value. n is the dimension.
class LearningRates {
 public:
  explicit LearningRates(int n);

  double mean() const { return mean_.rate; }
  double covariance() const { return covariance_.rate; }

  // Adapts the rates to a proposed step of the mean and of Sigma = sigma^2 C, then shortens it by
  // them: on return `mean`, `sigma` and `c` are the new ones (with det C = 1). `old_inverse_root`
  // is Sigma_old^-1/2. False, with nothing changed, if the shortened Sigma is not positive definite.
  bool Apply(const Eigen::VectorXd& old_mean, const Eigen::MatrixXd& old_sigma_matrix,
             const Eigen::MatrixXd& old_inverse_root, Eigen::VectorXd& mean, double& sigma, Eigen::MatrixXd& c);

  void Save(StateWriter& writer) const;
  void Load(StateReader& reader);

 private:
  // One of the two parameters of the distribution, in local coordinates.
  struct Signal {
    double rate = 1;       // eta
    double beta = 0;       // of the moving averages
    Eigen::VectorXd step;  // E
    double square = 0;     // V
    void Observe(const Eigen::VectorXd& local_step);
  };
  int n_;
  Signal mean_;
  Signal covariance_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_LEARNING_RATES_H_

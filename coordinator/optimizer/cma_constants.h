// The strategy parameters of CMA-ES: N. Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv
// 1604.00772v2), table 1, with negative weights (active CMA-ES).
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_CMA_CONSTANTS_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_CMA_CONSTANTS_H_

#include <Eigen/Core>

namespace merganser {

enum class CmaVariant {
  // The tutorial as printed.
  kHansen,
  // CyberAgent's `cmaes` library (0.10 to 0.13), which Optuna's sampler runs, where it differs from
  // the tutorial: c_mu
  // without the 1/4, no cap on the growth of sigma, h_sigma's exponent one generation ahead, 1e-8
  // added in eq. 46, and
  // only negative eigenvalues repaired (to 1e-8).
  kPublished,
};

struct CmaConstants {
  CmaVariant variant = CmaVariant::kHansen;
  bool separable = false;  // only the diagonal of C is learned
  int dimension = 0;
  int population = 0;       // lambda
  int parents = 0;          // mu, those with a part in the mean
  double mu_eff = 0;        // eq. 8
  double c_sigma = 0;       // eq. 55
  double d_sigma = 0;       // eq. 55
  double c_c = 0;           // eq. 56
  double c_1 = 0;           // eq. 57
  double c_mu = 0;          // eq. 58
  double chi_n = 0;         // E|N(0, I)|
  Eigen::VectorXd weights;  // [population], best first, eq. 53; the first `parents` sum to 1, the rest are <= 0
};

// 4 + floor(3 ln dimension), eq. 48.
int DefaultPopulation(int dimension);

// Separable: c_1 and c_mu are (n + 2) / 3 times larger, because a diagonal has fewer parameters to
// learn (R. Ros, N. Hansen, "A simple modification in CMA-ES achieving linear time and space
// complexity", PPSN 2008). REQUIRES: dimension >= 1, population >= 4.
CmaConstants MakeCmaConstants(CmaVariant variant, int dimension, int population, bool separable = false);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_CMA_CONSTANTS_H_

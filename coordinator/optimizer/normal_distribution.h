// The standard normal distribution and its inverse.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_NORMAL_DISTRIBUTION_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_NORMAL_DISTRIBUTION_H_

namespace merganser {

double NormalDensity(double x);
// Pr(X <= x).
double NormalCdf(double x);
// x with NormalCdf(x) = p, to about 1e-14. REQUIRES: p in (0, 1).
double NormalQuantile(double p);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_NORMAL_DISTRIBUTION_H_

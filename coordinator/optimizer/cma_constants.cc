#include "coordinator/optimizer/cma_constants.h"

#include <algorithm>
#include <cmath>

namespace merganser {

int DefaultPopulation(int dimension) { return 4 + static_cast<int>(std::floor(3 * std::log(dimension))); }

CmaConstants MakeCmaConstants(CmaVariant variant, int dimension, int population, bool separable) {
  CmaConstants k;
  k.separable = separable;
  k.variant = variant;
  k.dimension = dimension;
  k.population = population;
  k.parents = population / 2;
  const double n = dimension;

  Eigen::VectorXd raw(population);  // eq. 49
  for (int i = 0; i < population; ++i) raw[i] = std::log((population + 1) / 2.0) - std::log(i + 1.0);
  const auto head = raw.head(k.parents);
  const auto tail = raw.tail(population - k.parents);
  k.mu_eff = head.sum() * head.sum() / head.squaredNorm();
  const double mu_eff_minus = tail.sum() * tail.sum() / tail.squaredNorm();

  k.c_1 = 2 / ((n + 1.3) * (n + 1.3) + k.mu_eff);
  const bool published = variant == CmaVariant::kPublished;
  k.c_mu = std::min(1 - k.c_1 - (published ? 1e-8 : 0.0),
                    2 * ((published ? 0.0 : 0.25) + k.mu_eff + 1 / k.mu_eff - 2) / ((n + 2) * (n + 2) + k.mu_eff));

  if (separable) {
    k.c_1 = std::min(0.5, k.c_1 * (n + 2) / 3);
    k.c_mu = std::min(1 - k.c_1, k.c_mu * (n + 2) / 3);
  }

  const double negative_scale = std::min({1 + k.c_1 / k.c_mu,                     // eq. 50
                                          1 + 2 * mu_eff_minus / (k.mu_eff + 2),  // eq. 51
                                          (1 - k.c_1 - k.c_mu) / (n * k.c_mu)});  // eq. 52
  double positive_sum = 0, negative_sum = 0;
  for (const double w : raw) (w >= 0 ? positive_sum : negative_sum) += std::abs(w);
  k.weights.resize(population);  // eq. 53
  for (int i = 0; i < population; ++i) {
    k.weights[i] = raw[i] >= 0 ? raw[i] / positive_sum : negative_scale * raw[i] / negative_sum;
  }

  k.c_sigma = (k.mu_eff + 2) / (n + k.mu_eff + 5);
  k.d_sigma = 1 + 2 * std::max(0.0, std::sqrt((k.mu_eff - 1) / (n + 1)) - 1) + k.c_sigma;
  k.c_c = (4 + k.mu_eff / n) / (n + 4 + 2 * k.mu_eff / n);
  k.chi_n = std::sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
  return k;
}

}  // namespace merganser

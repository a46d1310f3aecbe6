// Separable, restarting, adaptive and mixed CMA-ES, and the Cholesky root of high dimensions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "coordinator/optimizer/categorical_state.h"
#include "coordinator/optimizer/cma_es.h"
#include "coordinator/optimizer/factory.h"
#include "coordinator/optimizer/gp_search.h"
#include "coordinator/optimizer/normal_distribution.h"
#include "tests/contracts/optimizer_contract.h"

namespace merganser {
namespace {

using Function = std::function<double(const std::vector<double>&)>;

// Smallest value of `f` among `evaluations` proposals, whole generations.
double Minimum(Optimizer& optimizer, const Function& f, int evaluations) {
  double best = 1e300;
  for (int told = 0; told < evaluations;) {
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : MustAsk(optimizer, optimizer.batch_size())) {
      const double value = f(proposal.genome);
      best = std::min(best, value);
      outcomes.push_back({proposal.id, {-value}, false});
    }
    told += static_cast<int>(outcomes.size());
    EXPECT_TRUE(optimizer.Tell(outcomes).ok());
  }
  return best;
}

double Ellipsoid(const std::vector<double>& x) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double power = 6.0 * static_cast<double>(i) / static_cast<double>(x.size() - 1);
    sum += std::pow(10, power) * (x[i] - 0.45) * (x[i] - 0.45);
  }
  return sum;
}

double Sphere(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += (v - 0.45) * (v - 0.45);
  return sum;
}

TEST(NormalDistribution, QuantileInvertsTheDistribution) {
  for (const double p : {1e-12, 1e-4, 0.02, 0.3, 0.5, 0.7, 0.999}) {
    EXPECT_NEAR(NormalCdf(NormalQuantile(p)) / p, 1, 1e-9) << p;
  }
  EXPECT_NEAR(NormalQuantile(0.975), 1.959963984540054, 1e-12);
}

TEST(CmaVariants, SeparableLearnsAScaledLandscapeInFewerEvaluations) {
  auto full = *CreateOptimizer({"cma_es", {}, {}}, 30, 1);
  auto separable = *CreateOptimizer({"cma_es", {}, {{"covariance", "separable"}}}, 30, 1);
  const double with_full = Minimum(*full, Ellipsoid, 6000);
  EXPECT_LT(Minimum(*separable, Ellipsoid, 6000), 1e-3 * with_full);
}

TEST(CmaVariants, ThousandsOfGenesAreSeparable) {
  auto optimizer = *CreateOptimizer({"cma_es", {}, {{"covariance", "separable"}}}, 5000, 1);
  const double first = Sphere(MustAsk(*optimizer, 1)[0].genome);
  EXPECT_LT(Minimum(*optimizer, Sphere, 2000), 0.98 * first);
}

TEST(CmaVariants, ACholeskyRootSearchesAsEigenvectorsDo) {
  // 40 dimensions have eigenvectors, 41 a Cholesky root: the same landscape takes about as long.
  double reached[2];
  for (const int n : {40, 41}) {
    auto optimizer = *CreateOptimizer({"cma_es", {}, {}}, n, 3);
    reached[n - 40] = std::log10(Minimum(*optimizer, Ellipsoid, 20000));
  }
  EXPECT_LT(reached[1], 1);
  EXPECT_NEAR(reached[0], reached[1], 1.5);
}

TEST(CmaVariants, DrawingManyEqualsDrawingEach) {
  for (const int n : {3, 40, 131}) {
    CmaState state(MakeCmaConstants(CmaVariant::kHansen, n, 12), 0.5, 0.2);
    Rng rng(5, 0);
    for (int generation = 0; generation < 30; ++generation) {
      Eigen::MatrixXd x(n, 12);
      for (double& value : x.reshaped()) value = 0.5 + 0.1 * rng.Normal();
      ASSERT_TRUE(state.Update(x, std::vector<bool>(12, false)).ok());
    }
    std::vector<Rng> rngs = {{9, 0}, {9, 1}, {9, 2}};
    const Eigen::MatrixXd many = state.DrawMany(absl::MakeSpan(rngs));
    for (int i = 0; i < 3; ++i) {
      Rng own(9, static_cast<uint64_t>(i));
      EXPECT_TRUE(state.Draw(own) == many.col(i)) << n;
    }
  }
}

double Rastrigin(const std::vector<double>& x) {
  double sum = 10.0 * static_cast<double>(x.size());
  for (const double v : x) {
    const double z = 8 * (v - 0.41);
    sum += z * z - 10 * std::cos(2 * M_PI * z);
  }
  return sum;
}

TEST(CmaVariants, RestartsFindTheBestOfManyValleys) {
  int alone = 0, restarting = 0;
  for (uint64_t seed = 1; seed <= 11; ++seed) {
    auto once = *CreateOptimizer({"cma_es", {}, {}}, 3, seed);
    alone += Minimum(*once, Rastrigin, 30000) < 1e-6;
    CmaEsOptions options;
    options.population = 7;
    options.restarts = 6;
    CmaEs ipop(options, GenomeSpec::Continuous(3), seed);
    const double best = Minimum(ipop, Rastrigin, 30000);
    restarting += best < 1e-6;
    EXPECT_GT(ipop.restarts_made(), 0);
    EXPECT_GT(ipop.batch_size(), 7);
    // The answer is a run's that has converged, not a mean on its way.
    EXPECT_LT(Rastrigin(ipop.Mean()), 6) << seed;
  }
  EXPECT_GE(restarting, 9);
  EXPECT_GT(restarting, alone);
}

TEST(CmaVariants, AdaptiveLearningRatesStandNoise) {
  // Noise as large as the signal at half the way; compared by where the mean ends.
  double fixed = 0, adaptive = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    for (const std::string rate : {"fixed", "adaptive"}) {
      auto optimizer = *CreateOptimizer({"cma_es", {}, {{"learning_rate", rate}}}, 5, seed);
      Rng noise(seed, 99);
      Minimum(
          *optimizer, [&](const auto& x) { return Sphere(x) + 0.05 * noise.Normal(); }, 4000);
      (rate == "fixed" ? fixed : adaptive) += Sphere(optimizer->Mean());
    }
  }
  EXPECT_LT(adaptive, fixed);
}

TEST(CmaVariants, AMarginKeepsEveryLevelWithinReach) {
  // The levels move with the continuous genes: without a margin the first wrong level would stay.
  GenomeSpec genome = GenomeSpec::Continuous(8);
  for (int i = 0; i < 4; ++i) genome.genes[i] = {Gene::Kind::kInteger, i < 2 ? 2 : 7, 0.1, 1};
  const Function f = [&](const std::vector<double>& x) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
      const int want = genome.genes[i].levels - 1;
      sum += std::abs(genome.genes[i].LevelOf(x[i]) - want);
    }
    for (int i = 4; i < 8; ++i) sum += 100 * (x[i] - 0.3) * (x[i] - 0.3);
    return sum;
  };
  for (const std::string discrete : {"margin", "categorical"}) {
    int reached = 0;
    for (uint64_t seed = 1; seed <= 11; ++seed) {
      auto optimizer = *CreateOptimizer({"cma_es", {}, {{"discrete", discrete}}}, genome, 1, seed);
      reached += Minimum(*optimizer, f, 4000) < 1e-6;
    }
    EXPECT_GE(reached, 10) << discrete;
  }
}

TEST(CmaVariants, KeepMarginLeavesEachLevelItsProbability) {
  const double alpha = 0.02;
  CmaState state(MakeCmaConstants(CmaVariant::kHansen, 3, 6), Eigen::Vector3d(0.5, 0.7, 0.5), Eigen::Vector3d::Ones(), 1e-5);
  state.KeepMargin(std::vector<int>{5, 2, 0}, alpha);
  std::vector<int> leaves(3, 0);
  for (uint64_t i = 0; i < 20000; ++i) {
    Rng rng(3, i);
    const Eigen::VectorXd x = state.Draw(rng);
    leaves[0] += x[0] < 0.4 || x[0] > 0.6;
    leaves[1] += x[1] < 0.5;
    leaves[2] += std::abs(x[2] - 0.5) > 1e-3;
  }
  EXPECT_NEAR(leaves[0] / 20000.0, alpha, 0.005);
  EXPECT_NEAR(leaves[1] / 20000.0, alpha, 0.005);
  EXPECT_EQ(leaves[2], 0);
}

TEST(CmaVariants, CategoriesAreLearnedBesideContinuousGenes) {
  // A method out of four decides which value of the other gene is right.
  const GenomeSpec genome{{{Gene::Kind::kCategorical, 4, 0.5, 1}, Gene(), Gene()}};
  const double best_at[] = {0.1, 0.3, 0.8, 0.6}, penalty[] = {0.3, 0.2, 0.0, 0.1};
  int reached = 0;
  for (uint64_t seed = 1; seed <= 11; ++seed) {
    auto optimizer = *CreateOptimizer({"cma_es", {}, {}}, genome, 1, seed);
    const double best = Minimum(
        *optimizer,
        [&](const std::vector<double>& x) {
          const int level = genome.genes[0].LevelOf(x[0]);
          return penalty[level] + std::pow(x[1] - best_at[level], 2) + std::pow(x[2] - 0.4, 2);
        },
        800);
    reached += best < 1e-3;
    EXPECT_EQ(genome.genes[0].LevelOf(optimizer->Mean()[0]), 2) << seed;
  }
  EXPECT_GE(reached, 10);
}

TEST(CategoricalState, StartsAtTheStartOfTwoLevelsAndKeepsAMargin) {
  const std::vector<Gene> genes = {{Gene::Kind::kCategorical, 2, 0.8, 1}, {Gene::Kind::kCategorical, 4, 0.5, 1}};
  CategoricalState state(genes, 2);
  EXPECT_NEAR(state.probabilities()[0][1], 0.8, 1e-12);
  EXPECT_NEAR(state.probabilities()[1][3], 0.25, 1e-12);
  const std::vector<double> weights = {0.6, 0.4};
  for (int i = 0; i < 500; ++i) state.Update({{0, 2}, {0, 2}}, weights);
  const double low = 1 - std::pow(0.73, 0.5);
  EXPECT_NEAR(state.probabilities()[0][1], low, 1e-6);
  EXPECT_NEAR(state.probabilities()[1][0], low / 3, 1e-6);
  EXPECT_THAT(state.Mode(), testing::ElementsAre(0, 2));
}

TEST(GpSearch, NeedsFewCandidatesAndKeepsPendingOnesApart) {
  double gp = 0, random = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    auto search = *CreateOptimizer({"gp"}, 4, seed);
    auto chance = *CreateOptimizer({"random", {{"population", 8}}, {}}, 4, seed);
    gp += Minimum(*search, Sphere, 48);
    random += Minimum(*chance, Sphere, 48);
    // Ten more without an outcome in between: none twice.
    auto pending = MustAsk(*search, 10);
    for (size_t i = 0; i < pending.size(); ++i) {
      for (size_t j = 0; j < i; ++j) EXPECT_NE(pending[i].genome, pending[j].genome);
    }
    EXPECT_LT(Sphere(search->Mean()), 0.02) << seed;
  }
  EXPECT_LT(gp, 0.1 * random);
}

}  // namespace
}  // namespace merganser

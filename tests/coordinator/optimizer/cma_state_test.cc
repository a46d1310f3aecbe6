#include "coordinator/optimizer/cma_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "coordinator/optimizer/cma_es.h"

namespace merganser {
namespace {

using testing::HasSubstr;

// n, lambda, mu, mueff, cs, ds, cc, c1, cmu, chiN, sum w, w_1, w_last of the tutorial's table 1;
// equal to pycma 4.5 to six digits but for cs and ds, where pycma deviates from the tutorial.
struct ConstantsRow {
  int n, population, parents;
  double mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi_n, weight_sum, first, last;
};
constexpr ConstantsRow kTutorial[] = {
    {2, 6, 3, 2.028611, .446205, 1.446205, .624555, .15481540, .08559278, 1.254273, -1.207324, .637043, -1.155982},
    {5, 8, 4, 2.600179, .365088, 1.365088, .450200, .04729230, .04785905, 2.128524, -.988158, .529930, -.811149},
    {10, 10, 5, 3.167299, .284429, 1.284429, .294990, .01528382, .02355178, 3.084727, -.648946, .456273, -.549750},
    {20, 12, 6, 3.729459, .199428, 1.199428, .171767, .00437235, .00921656, 4.416767, -.474402, .402403, -.415204},
    {40, 15, 7, 4.540915, .132031, 1.132031, .093009, .00116943, .00340522, 6.285215, -.343424, .344796, -.308367},
    {64, 16, 8, 4.840915, .092644, 1.092644, .059803, .00046850, .00151232, 7.968843, -.309790, .328436, -.281150},
};

TEST(CmaConstants, AreTheTutorials) {
  for (const ConstantsRow& row : kTutorial) {
    SCOPED_TRACE(row.n);
    EXPECT_EQ(DefaultPopulation(row.n), row.population);
    const CmaConstants k = MakeCmaConstants(CmaVariant::kHansen, row.n, row.population);
    const double e = 6e-7;  // the table has six decimals, c1 and cmu eight
    EXPECT_EQ(k.parents, row.parents);
    EXPECT_NEAR(k.mu_eff, row.mu_eff, e);
    EXPECT_NEAR(k.c_sigma, row.c_sigma, e);
    EXPECT_NEAR(k.d_sigma, row.d_sigma, e);
    EXPECT_NEAR(k.c_c, row.c_c, e);
    EXPECT_NEAR(k.c_1, row.c_1, 6e-9);
    EXPECT_NEAR(k.c_mu, row.c_mu, 6e-9);
    EXPECT_NEAR(k.chi_n, row.chi_n, e);
    EXPECT_NEAR(k.weights.sum(), row.weight_sum, 2e-6);
    EXPECT_NEAR(k.weights[0], row.first, e);
    EXPECT_NEAR(k.weights[row.population - 1], row.last, 2e-6);
    EXPECT_NEAR(k.weights.head(k.parents).sum(), 1, 1e-12);
  }
}

TEST(CmaConstants, PublishedLeavesTheQuarterOutOfCmu) {
  EXPECT_NEAR(MakeCmaConstants(CmaVariant::kPublished, 10, 10).c_mu, .02015428, 6e-9);
}

TEST(CmaConstants, LearningRatesStayUsableAtTheEndsOfTheRanges) {
  for (const CmaVariant variant : {CmaVariant::kHansen, CmaVariant::kPublished}) {
    for (const int n : {1, 2, 30, 1000}) {
      for (const int population : {4, 5, 100, 10000}) {
        const CmaConstants k = MakeCmaConstants(variant, n, population);
        EXPECT_TRUE(k.weights.allFinite());
        EXPECT_GT(k.c_mu, 0);
        EXPECT_LE(k.c_1 + k.c_mu, 1);
        EXPECT_LT(k.c_sigma, 1);
        EXPECT_LE(k.weights.tail(population - k.parents).maxCoeff(), 0);
      }
    }
  }
}

// [run]: variant, dimension, population, steps.
nlohmann::json GoldenRuns() {
  std::ifstream file(std::string(MG_SOURCE_DIR) + "/tests/golden/optimizer_cma_trajectories.json");
  return nlohmann::json::parse(file)["runs"];
}

CmaVariant VariantOf(const nlohmann::json& run) {
  return run["variant"] == "published" ? CmaVariant::kPublished : CmaVariant::kHansen;
}

// The largest difference, relative to the largest number expected.
double Difference(const Eigen::MatrixXd& got, const nlohmann::json& want) {
  double difference = 0, scale = 1e-3;
  for (Eigen::Index i = 0; i < got.rows(); ++i) {
    for (Eigen::Index j = 0; j < got.cols(); ++j) {
      const double w = want[i].is_array() ? want[i][j].get<double>() : want[i].get<double>();
      difference = std::max(difference, std::abs(got(i, j) - w));
      scale = std::max(scale, std::abs(w));
    }
  }
  return difference / scale;
}

TEST(CmaState, FollowsTheReferenceLibraryUpdateByUpdate) {
  int updates = 0;
  const nlohmann::json runs = GoldenRuns();
  for (const nlohmann::json& run : runs) {
    const int n = run["dimension"], population = run["population"];
    CmaState state(MakeCmaConstants(VariantOf(run), n, population), 0.5, 1.0 / 6);
    for (const nlohmann::json& step : run["steps"]) {
      std::vector<int> rank(population);
      for (int i = 0; i < population; ++i) rank[i] = i;
      std::stable_sort(rank.begin(), rank.end(),
                       [&](int a, int b) { return step["fitness"][a].get<double>() > step["fitness"][b].get<double>(); });
      Eigen::MatrixXd x(n, population);
      for (int i = 0; i < population; ++i) {
        for (int j = 0; j < n; ++j) x(j, i) = step["genomes"][rank[i]][j].get<double>();
      }
      ASSERT_TRUE(state.Update(x, std::vector<bool>(population, false)).ok());
      ++updates;
      SCOPED_TRACE(run["variant"].get<std::string>() + " n " + std::to_string(n) + " generation " +
                   std::to_string(state.generation()));
      // Rounding of another eigenvalue solver, carried through up to 20 generations.
      EXPECT_LT(Difference(state.mean(), step["mean"]), 1e-10);
      EXPECT_NEAR(state.sigma() / step["sigma"].get<double>(), 1, 1e-10);
      EXPECT_LT(Difference(state.covariance(), step["covariance"]), 1e-10);
      EXPECT_LT(Difference(state.sigma_path(), step["sigma_path"]), 1e-10);
      EXPECT_LT(Difference(state.covariance_path(), step["covariance_path"]), 1e-10);
    }
  }
  EXPECT_EQ(updates, 108);
}

TEST(CmaEs, FollowsTheReferenceLibraryThroughAskAdoptAndTell) {
  const nlohmann::json runs = GoldenRuns();
  ASSERT_EQ(runs.size(), 10u);
  for (const nlohmann::json& run : runs) {
    CmaEsOptions options;
    options.variant = VariantOf(run);
    options.population = run["population"];
    options.bounds = CmaEsOptions::Bounds::kResample;
    CmaEs optimizer(options, GenomeSpec::Continuous(run["dimension"]), 1);
    for (const nlohmann::json& step : run["steps"]) {
      auto proposals = *optimizer.Ask(options.population);
      std::vector<Outcome> outcomes;
      for (int i = 0; i < options.population; ++i) {
        proposals[i].genome = step["genomes"][i].get<std::vector<double>>();
        outcomes.push_back({proposals[i].id, {step["fitness"][i].get<double>()}, false});
      }
      ASSERT_TRUE(optimizer.Adopt(proposals).ok());
      ASSERT_TRUE(optimizer.Tell(outcomes).ok());
      const std::vector<double> mean = optimizer.Mean();
      for (size_t j = 0; j < mean.size(); ++j) EXPECT_NEAR(mean[j], step["mean"][j].get<double>(), 1e-10);
    }
  }
}

CmaState MakeState(int n = 4, int population = 8) {
  return CmaState(MakeCmaConstants(CmaVariant::kHansen, n, population), 0.5, 0.2);
}

TEST(CmaState, RefusesAGenerationOfTheWrongShapeOrWithoutNumbers) {
  CmaState state = MakeState();
  const std::vector<bool> fresh(8, false);
  const absl::Status shape = state.Update(Eigen::MatrixXd::Zero(4, 7), fresh);
  EXPECT_EQ(shape.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(shape.message()), HasSubstr("7 genomes of 4 numbers, not 8 of 4"));
  Eigen::MatrixXd x = Eigen::MatrixXd::Constant(4, 8, 0.5);
  x(2, 3) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(state.Update(x, fresh).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(state.generation(), 0);
}

TEST(CmaState, ADistributionThatIsNotFiniteIsAnErrorAndNotTaken) {
  CmaState state = MakeState();
  Eigen::MatrixXd x = Eigen::MatrixXd::Constant(4, 8, 0.5);
  x(0, 0) = 1e300;  // its square is not a double
  const absl::Status status = state.Update(x, std::vector<bool>(8, false));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not finite after generation 1"));
  EXPECT_EQ(state.generation(), 0);
  EXPECT_EQ(state.sigma(), 0.2);
  EXPECT_TRUE(state.mean().isApproxToConstant(0.5));
}

TEST(CmaState, InjectedStepsAreShortenedToWhatTheDistributionCouldDraw) {
  // All genomes sit in the corner, 12.5 standard deviations away.
  const Eigen::MatrixXd x = Eigen::MatrixXd::Ones(4, 8);
  CmaState believed(MakeCmaConstants(CmaVariant::kHansen, 4, 8), 0.5, 0.04), clipped = believed;
  ASSERT_TRUE(believed.Update(x, std::vector<bool>(8, false)).ok());
  ASSERT_TRUE(clipped.Update(x, std::vector<bool>(8, true)).ok());
  EXPECT_NEAR(believed.mean()[0], 1, 1e-12);
  // sqrt(n) + 2n/(n + 2) standard deviations of the vector, spread over its four coordinates.
  EXPECT_NEAR(clipped.mean()[0], 0.5 + 0.04 * (2 + 8.0 / 6) / 2, 1e-12);
  EXPECT_LT(clipped.sigma(), believed.sigma());
}

TEST(CmaState, SurvivesAGenerationWithoutAnyStep) {
  for (const CmaVariant variant : {CmaVariant::kHansen, CmaVariant::kPublished}) {
    CmaState state(MakeCmaConstants(variant, 3, 7), 0.5, 0.2);
    const Eigen::MatrixXd x = Eigen::MatrixXd::Constant(3, 7, 0.5);
    for (int i = 0; i < 3000; ++i) ASSERT_TRUE(state.Update(x, std::vector<bool>(7, false)).ok()) << i;
    EXPECT_GT(state.sigma(), 0);
    EXPECT_NE(state.StopReason(), "");
    Rng rng(1, 2);
    for (const double gene : state.DrawInBox(rng, 10)) EXPECT_NEAR(gene, 0.5, 1e-9);
  }
}

TEST(CmaState, SamplesHaveTheDistributionsMoments) {
  CmaState state(MakeCmaConstants(CmaVariant::kHansen, 2, 6), 0.5, 0.02);
  // Some updates along the diagonal, so that C is not the identity.
  Rng rng(3, 0);
  for (int g = 0; g < 4; ++g) {
    Eigen::MatrixXd x(2, 6);
    for (int i = 0; i < 6; ++i) {
      const double along = 0.03 * rng.Normal(), across = 0.004 * rng.Normal();
      x.col(i) << state.mean()[0] + along + across, state.mean()[1] + along - across;
    }
    ASSERT_TRUE(state.Update(x, std::vector<bool>(6, false)).ok());
  }
  const int count = 40000;
  Eigen::MatrixXd samples(2, count);
  for (int i = 0; i < count; ++i) {
    Rng own(9, i);
    const auto x = state.Draw(own);
    samples.col(i) << x[0], x[1];
  }
  const Eigen::Vector2d mean = samples.rowwise().mean();
  const Eigen::MatrixXd centred = samples.colwise() - mean;
  const Eigen::Matrix2d got = centred * centred.transpose() / count;
  const Eigen::Matrix2d want = state.sigma() * state.sigma() * state.covariance();
  EXPECT_GT(std::abs(want(0, 1)), 0.2 * want(0, 0));
  EXPECT_LT((got - want).norm(), 0.03 * want.norm());  // 4 standard errors of 40000 draws
  EXPECT_LT((mean - state.mean()).norm(), 0.03 * state.sigma());
}

TEST(CmaState, ClipsOnlyWhenTheTriesAreUsedUp) {
  const CmaState corner(MakeCmaConstants(CmaVariant::kHansen, 2, 6), 0.0, 0.1);
  int on_the_edge_at_once = 0, on_the_edge_after_tries = 0;
  for (int i = 0; i < 300; ++i) {
    Rng a(1, i), b(1, i);
    for (const double gene : corner.DrawInBox(a, 0)) on_the_edge_at_once += gene == 0;
    for (const double gene : corner.DrawInBox(b, 100)) on_the_edge_after_tries += gene == 0;
  }
  EXPECT_GT(on_the_edge_at_once, 200);
  EXPECT_EQ(on_the_edge_after_tries, 0);
}

}  // namespace
}  // namespace merganser

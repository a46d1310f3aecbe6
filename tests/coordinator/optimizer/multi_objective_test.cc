// NSGA-II, MO-CMA-ES, the niche archive and the Gaussian process on fronts that are known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "coordinator/optimizer/factory.h"
#include "coordinator/optimizer/hypervolume.h"
#include "coordinator/optimizer/niche_archive.h"
#include "coordinator/optimizer/niche_cma_es.h"
#include "tests/contracts/optimizer_contract.h"

namespace merganser {
namespace {

using Objectives = std::function<FitnessVector(const std::vector<double>&)>;

// Negated, so that larger is better.
FitnessVector Zdt1(const std::vector<double>& x) {
  double g = 0;
  for (size_t i = 1; i < x.size(); ++i) g += x[i];
  g = 1 + 9 * g / static_cast<double>(x.size() - 1);
  return {-x[0], -g * (1 - std::sqrt(x[0] / g))};
}

// Two bowls that are turned against the axes, so that genes must move together: the front is the
// line between their centres, f1 = 4 s^2, f2 = 4 (1 - s)^2 of the distance.
FitnessVector TurnedBowls(const std::vector<double>& x) {
  double f[2] = {0, 0};
  for (int k = 0; k < 2; ++k) {
    const double centre = k == 0 ? 0.25 : 0.75;
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] - centre;
    for (size_t i = 0; i < x.size(); ++i) {
      const double along = sum / static_cast<double>(x.size()), across = x[i] - centre - along;
      f[k] += along * along + 100 * across * across;
    }
  }
  return {-f[0], -f[1]};
}

double HypervolumeReached(const OptimizerSpec& spec, int n, const Objectives& f, int evaluations,
                          const FitnessVector& reference, uint64_t seed) {
  auto optimizer = *CreateOptimizer(spec, GenomeSpec::Continuous(n), 2, seed);
  std::vector<FitnessVector> all;
  while (static_cast<int>(all.size()) < evaluations) {
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : MustAsk(*optimizer, optimizer->batch_size())) {
      outcomes.push_back({proposal.id, f(proposal.genome), false});
      all.push_back(outcomes.back().fitness);
    }
    EXPECT_TRUE(optimizer->Tell(outcomes).ok());
  }
  return Hypervolume(all, reference);
}

TEST(MultiObjective, Nsga2ReachesTheReferencesHypervolumeOnZdt1) {
  // pymoo: median 0.859 of the last population, lowest 0.854 (population 40, 100 generations, n 10).
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    EXPECT_GT(HypervolumeReached({"nsga2", {{"population", 40}}, {}}, 10, Zdt1, 4000, {-1.1, -1.1}, seed), 0.854);
  }
}

TEST(MultiObjective, EveryOneIsFarBetterThanChance) {
  const FitnessVector reference = {-2, -2};
  const double random = HypervolumeReached({"random"}, 4, TurnedBowls, 400, reference, 1);
  for (const std::string name : {"nsga2", "mo_cma_es", "niche"}) {
    EXPECT_GT(HypervolumeReached({name}, 4, TurnedBowls, 400, reference, 1), random) << name;
  }
  EXPECT_GT(HypervolumeReached({"gp"}, 4, TurnedBowls, 60, {-20, -20}, 1),
            HypervolumeReached({"random"}, 4, TurnedBowls, 60, {-20, -20}, 1));
}

TEST(MultiObjective, OwnCovariancesFindAFrontThatIsTurnedAgainstTheAxes) {
  const FitnessVector reference = {-2, -2};
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const auto volume = [&](const std::string& name) {
      return HypervolumeReached({name, {{"population", 20}}, {}}, 4, TurnedBowls, 6000, reference, seed);
    };
    EXPECT_GT(volume("mo_cma_es"), volume("nsga2")) << seed;
  }
}

TEST(MultiObjective, FailuresNeverBecomeParentsWhileThereIsAnythingElse) {
  for (const std::string name : {"nsga2", "mo_cma_es", "niche", "gp"}) {
    auto optimizer = *CreateOptimizer({name, {}, {}}, GenomeSpec::Continuous(2), 2, 1);
    for (int generation = 0; generation < 12; ++generation) {
      std::vector<Outcome> outcomes;
      for (const Proposal& proposal : MustAsk(*optimizer, optimizer->batch_size())) {
        const bool failed = proposal.genome[0] > 0.4;  // most of the box
        outcomes.push_back({proposal.id, {proposal.genome[0], 1 - proposal.genome[1]}, failed});
      }
      ASSERT_TRUE(optimizer->Tell(outcomes).ok());
    }
    int inside = 0;
    for (const Proposal& proposal : MustAsk(*optimizer, 40)) inside += proposal.genome[0] < 0.45;
    EXPECT_GE(inside, 20) << name;  // 16 of 40 by chance
  }
}

TEST(NicheArchive, WhoIsGoodAtWhatFewAreGoodAtIsFit) {
  // Objective 0 is shared by three, objective 1 is one member's alone.
  const auto fitness = NicheFitness({{1, 0}, {1, 0}, {1, 0}, {0, 0.5}});
  EXPECT_THAT(fitness, testing::ElementsAre(1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0));
  EXPECT_THAT(NicheFitness({{0, 0}, {0, 0}}), testing::ElementsAre(0, 0));
}

TEST(NicheCmaEs, TheLastOfAGenerationAreChildrenOfTheArchive) {
  auto optimizer = *CreateOptimizer({"niche", {{"inject", 0.25}, {"sigma0", 0}}, {}}, GenomeSpec::Continuous(4), 2, 1);
  const auto& search = dynamic_cast<const NicheCmaEs&>(*optimizer);
  const int batch = optimizer->batch_size();
  ASSERT_EQ(batch, 11);  // 4/3 of 4 + floor(3 ln 4), rounded up; of which 3 are children
  for (int generation = 0; generation < 6; ++generation) {
    const std::vector<Individual> parents = search.archive().members();
    const auto proposals = MustAsk(*optimizer, batch);
    std::vector<Outcome> outcomes;
    for (const Proposal& proposal : proposals) {
      outcomes.push_back({proposal.id, TurnedBowls(proposal.genome), false});
      // Without mutation every gene of a child lies between those of its parents.
      bool between = !parents.empty();
      for (size_t i = 0; i < 4 && between; ++i) {
        double low = 1, high = 0;
        for (const Individual& parent : parents) {
          low = std::min(low, parent.genome[i]);
          high = std::max(high, parent.genome[i]);
        }
        between = proposal.genome[i] >= low - 1e-12 && proposal.genome[i] <= high + 1e-12;
      }
      if (generation > 0 && proposal.id % batch >= batch - 3) EXPECT_TRUE(between) << proposal.id;
    }
    ASSERT_TRUE(optimizer->Tell(outcomes).ok());
    EXPECT_EQ(search.cma_es().generation(), generation + 1);
  }
  EXPECT_EQ(search.archive().members().size(), 20u);
}

TEST(NicheCmaEs, FindsTheBestMeanFarBetterThanTheArchiveAlone) {
  const auto best_mean = [](const OptimizerSpec& spec, uint64_t seed) {
    auto optimizer = *CreateOptimizer(spec, GenomeSpec::Continuous(4), 2, seed);
    double best = -1e9;
    for (int told = 0; told < 1500; told += optimizer->batch_size()) {
      std::vector<Outcome> outcomes;
      for (const Proposal& proposal : MustAsk(*optimizer, optimizer->batch_size())) {
        outcomes.push_back({proposal.id, TurnedBowls(proposal.genome), false});
        best = std::max(best, (outcomes.back().fitness[0] + outcomes.back().fitness[1]) / 2);
      }
      EXPECT_TRUE(optimizer->Tell(outcomes).ok());
    }
    return best;
  };
  const OptimizerSpec injecting = {"niche", {{"inject", 0.3}}, {}}, archive = {"niche"};
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const double optimum = -0.25;  // half way between the centres: each is 4 * 0.25^2 away
    EXPECT_LT(optimum - best_mean(injecting, seed), 0.1 * (optimum - best_mean(archive, seed))) << seed;
  }
}

}  // namespace
}  // namespace merganser

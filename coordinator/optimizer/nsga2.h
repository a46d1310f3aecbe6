// NSGA-II: K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A fast and elitist multiobjective genetic
// algorithm: NSGA-II", IEEE TEC 6(2), 2002. The reference for several objectives.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_NSGA2_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_NSGA2_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/rng.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/population.h"
#include "coordinator/optimizer/proposal_ledger.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// Operators and constants as in pymoo: simulated binary crossover (eta 15, pair probability 0.9, per
// gene 0.5), polynomial mutation (eta 20, per gene min(0.5, 1/n), probability 0.9), binary
// tournaments by front and crowding distance. Categorical genes are exchanged whole and mutate to a
// level drawn evenly; integers are rounded to their levels.
//
// The first `population` proposals are drawn evenly from the box; so are later ones while nothing
// has a fitness. A generation is any `population` outcomes, late ones included: an individual is
// judged by its fitness, not by when it was made. Then the best `population` of parents and
// offspring are the next parents.
class Nsga2 : public Optimizer {
 public:
  static constexpr int kPopulationMin = 2;
  static constexpr int kPopulationMax = 10000;
  static constexpr int kDimensionMax = 100000;

  // REQUIRES: genome valid, population and dimension in their ranges (CreateOptimizer checks them).
  Nsga2(int population, GenomeSpec genome, uint64_t seed);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<Nsga2>> Restore(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override { return ledger_.Adopt(logged); }
  std::string SaveState() const override;
  int batch_size() const override { return population_; }
  int dimension() const override { return genome_.dimension(); }
  int64_t generation() const override { return generation_; }
  std::string Summary() const override;

  // The current parents, best first.
  const std::vector<Individual>& parents() const { return parents_; }

 private:
  std::vector<double> DrawEvenly(Rng& rng) const;
  std::vector<double> Child(Rng& rng) const;
  const Individual& Tournament(Rng& rng) const;
  void Mutate(Rng& rng, std::vector<double>& genome) const;
  void CloseGeneration();
  // Fronts and crowding distances of parents_.
  void RankParents();

  // Constant after construction.
  int population_;
  GenomeSpec genome_;
  uint64_t seed_;

  ProposalLedger ledger_;
  std::vector<Individual> parents_;
  std::vector<Individual> offspring_;  // of the open generation, fewer than population_
  int64_t generation_ = 0;
  // Functions of parents_.
  std::vector<int> ranks_;
  std::vector<double> crowding_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_NSGA2_H_

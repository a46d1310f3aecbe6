// Bayesian search with a Gaussian process: for budgets of tens of expensive candidates.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_GP_SEARCH_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_GP_SEARCH_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/rng.h"
#include "coordinator/optimizer/gaussian_process.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/population.h"
#include "coordinator/optimizer/proposal_ledger.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// Each proposal maximises the expected improvement (D. Jones et al., 1998) over the best posterior
// mean of an observed genome. Proposals without outcome count as observed at their posterior mean
// ("kriging believer", D. Ginsbourger et al., 2010), so many may be in flight and none is proposed
// twice. The first initial_count() proposals are the genome's start and then drawn evenly. Several
// objectives are scalarised anew for each proposal (ParEGO, J. Knowles, IEEE TEC 10, 2006), so the
// proposals spread over the front.
//
// The process is exact and sees at most kObservationsMax outcomes: the better half and the latest
// half of those beyond. Failed outcomes are seen as the worst fitness.
class GpSearch : public Optimizer {
 public:
  static constexpr int kPopulationMax = 1000;
  static constexpr int kDimensionMax = 200;
  static constexpr int kObservationsMax = 200;

  // REQUIRES: genome valid, population in [1, kPopulationMax], dimension in [1, kDimensionMax].
  GpSearch(int population, GenomeSpec genome, uint64_t seed);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<GpSearch>> Restore(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override;
  std::string SaveState() const override;
  int batch_size() const override { return population_; }
  int dimension() const override { return genome_.dimension(); }
  int64_t generation() const override { return ledger_.told() / population_; }
  // The observed genome with the best posterior mean; empty before the process is used, or with
  // several objectives.
  std::vector<double> Mean() const override;
  std::string Summary() const override;

  // max(12, 2 (n + 1)).
  int initial_count() const;

 private:
  struct Model {
    GaussianProcess process;
    double best_mean = 0;
    std::vector<double> best_genome;
  };
  // Empty while there is nothing to model: too few outcomes, or all alike.
  std::optional<Model> Fit(const std::vector<double>& values) const;
  // One number per observation, larger is better; `rng` draws the weights of several objectives.
  std::vector<double> Scalarise(Rng& rng) const;
  std::vector<double> DrawEvenly(Rng& rng) const;
  std::vector<double> Maximise(const Model& model, Rng& rng) const;
  // A copy of `genome` moved a little, levels kept in their middles.
  std::vector<double> Perturb(const std::vector<double>& genome, double deviation, Rng& rng) const;
  int objectives() const;
  void Forget();

  // Constant after construction.
  int population_;
  GenomeSpec genome_;
  uint64_t seed_;

  ProposalLedger ledger_;
  std::vector<Individual> observed_;  // in order of id; Ask forgets those beyond kObservationsMax
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_GP_SEARCH_H_

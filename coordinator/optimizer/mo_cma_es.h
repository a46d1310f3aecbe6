// MO-CMA-ES: C. Igel, N. Hansen, S. Roth, "Covariance matrix adaptation for multi-objective
// optimization", Evolutionary Computation 15(1), 2007; success as in T. Voss, N. Hansen, C. Igel,
// "Improved step size adaptation for the MO-CMA-ES", GECCO 2010.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_MO_CMA_ES_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_MO_CMA_ES_H_

#include <Eigen/Core>
#include <cstdint>
#include <map>
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

// A population of (1+1)-CMA-ES, each with a step size and a covariance of its own, selected together
// by front and by contribution to the hypervolume (two objectives; crowding distance for more).
// Finds fronts in rotated and badly scaled landscapes where NSGA-II's operators, which work gene by
// gene, do not.
//
// The first `population` proposals are drawn evenly from the box, so are later ones while nothing
// has a fitness; then each parent in turn has one child. A generation is any `population` outcomes,
// late ones included; a child whose parent is gone still joins. Discrete genes are searched as
// continuous ones. The box is handled as in cma_es (box_transform.h).
class MoCmaEs : public Optimizer {
 public:
  static constexpr int kPopulationMin = 2;
  static constexpr int kPopulationMax = 1000;
  static constexpr int kDimensionMax = 500;  // population matrices of n x n, a factorization a child

  // REQUIRES: genome valid, the others in their ranges (CreateOptimizer checks them).
  MoCmaEs(int population, double sigma0, GenomeSpec genome, uint64_t seed);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<MoCmaEs>> Restore(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override { return ledger_.Adopt(logged); }
  std::string SaveState() const override;
  int batch_size() const override { return population_; }
  int dimension() const override { return genome_.dimension(); }
  int64_t generation() const override { return generation_; }
  std::string Summary() const override;

 private:
  // The (1+1) strategy at one point.
  struct Strategy {
    Eigen::VectorXd point;  // [n], in the unbounded space
    double sigma = 0;
    double success = 0;    // mean rate of success
    Eigen::VectorXd path;  // p_c, [n]
    std::shared_ptr<const Eigen::MatrixXd> covariance;
  };
  struct Member {
    Individual individual;
    Strategy strategy;
    ProposalId parent = -1;  // -1: drawn evenly
  };

  Strategy FirstStrategy(Eigen::VectorXd point) const;
  void CloseGeneration();
  static void UpdateSigma(Strategy& strategy, bool success, int n);
  // `step`: the way from parent to child over the parent's sigma.
  static void UpdateCovariance(Strategy& strategy, const Eigen::VectorXd& step);
  void SaveMember(const Member& member, StateWriter& writer) const;
  Member LoadMember(StateReader& reader) const;

  // Constant after construction.
  int population_;
  double sigma0_;
  GenomeSpec genome_;
  uint64_t seed_;

  ProposalLedger ledger_;
  std::vector<Member> parents_;               // best first
  std::map<ProposalId, Member> outstanding_;  // children without outcome
  std::vector<Member> offspring_;             // of the open generation
  int64_t generation_ = 0;
  int64_t born_ = 0;  // children so far: whose turn it is to be parent
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_MO_CMA_ES_H_

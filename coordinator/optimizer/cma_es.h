// CMA-ES: covariance matrix adaptation, the strategy of the published merges.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_CMA_ES_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_CMA_ES_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/optimizer/categorical_state.h"
#include "coordinator/optimizer/cma_constants.h"
#include "coordinator/optimizer/cma_state.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/proposal_ledger.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

struct CmaEsOptions {
  static constexpr int kPopulationMin = 4;  // two parents at least
  static constexpr int kPopulationMax = 10000;
  static constexpr double kSigma0Min = 1e-6;
  static constexpr double kSigma0Max = 1.0;           // the whole range of a gene
  static constexpr int kDimensionMax = 5000;          // C takes 200 MB there, with its root 400
  static constexpr int kAdaptiveDimensionMax = 1000;  // eigenvalues twice in every generation
  static constexpr int kSeparableDimensionMax = 100000;
  static constexpr int kRestartsMax = 20;

  // How genomes stay inside the box.
  enum class Bounds {
    kTransform,  // the search space is unbounded and bent into the box (box_transform.h); finds
                 // optima on its edge
    kResample,   // draw again, clip after `tries`; does not converge to a corner, see
                 // CmaState::StopReason
  };
  // How genes of several levels are searched.
  enum class Discrete {
    kRelaxed,      // as continuous genes; a level far from the mean is never drawn again
    kMargin,       // as continuous genes with a margin (CmaState::KeepMargin)
    kCategorical,  // integers with a margin, categorical genes by probabilities of their own
                   // (categorical_state.h): CatCMA with margin
  };

  CmaVariant variant = CmaVariant::kHansen;
  int population = 0;       // lambda, [kPopulationMin, kPopulationMax]
  double sigma0 = 1.0 / 6;  // first standard deviation of a gene of scale 1, [kSigma0Min, kSigma0Max]
  bool rolling = true;      // which outcomes make a generation, see CmaEs
  Bounds bounds = Bounds::kTransform;
  int tries = 100;                             // kResample: draws per proposal before one is clipped to the box, >= 0
  bool separable = false;                      // learn the diagonal of C only
  Discrete discrete = Discrete::kCategorical;  // kRelaxed with Bounds::kResample
  // IPOP (A. Auger, N. Hansen, CEC 2005): a search that has converged starts again from a random
  // mean with twice the population, so often. [0, kRestartsMax]
  int restarts = 0;
  bool adaptive_rates = false;  // learning_rates.h; not with separable
};

// Which outcomes make a generation. A proposal carries the generation of the distribution it was
// drawn from; its *age* is the number of updates made since. Outcomes, in order of id within a
// Tell, are collected until there are batch_size():
//   rolling = false  only outcomes of age 0 are collected, older ones are ignored (as Optuna does).
//                    Right for a caller that waits for a whole generation; with more proposals in
//                    flight the surplus is wasted, nothing else.
//   rolling = true   outcomes of age 0, 1 and 2 are collected, aged ones with a shortened step
//                    (CmaState::Update), so workers need not wait for each other. Keep no more than
//                    batch_size() proposals in flight: with twice as many the search needs several
//                    times the evaluations.
// Then the collected are ranked (failed last, ties in order of id) and the distribution is updated;
// a generation in which all failed is dropped and the distribution stays. A restart makes a new
// distribution of twice the batch_size(); what was drawn from the old one is ignored.
//
// Differences of the preset `published` from Optuna 3.6's CmaEsSampler, which ran the published
// searches: failed candidates are ranked last (there: left out), and there is no random first
// candidate outside the generations.
class CmaEs : public Optimizer {
 public:
  // REQUIRES: options and genome are in their ranges (CreateOptimizer checks them).
  CmaEs(const CmaEsOptions& options, GenomeSpec genome, uint64_t seed);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<CmaEs>> Restore(StateReader& reader);
  // The same as part of another optimizer's state.
  void SaveTo(StateWriter& writer) const;
  static absl::StatusOr<std::unique_ptr<CmaEs>> RestorePart(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  // The errors of Ask.
  absl::Status CheckAsk(int count) const { return ledger_.CheckAsk(count); }
  // Files a genome that another search has found under the next id, beside what Ask draws. It ranks in its generation like
  // any other, but its step is shortened as that of an aged outcome is, so it cannot throw the distribution about (N.
  // Hansen, arXiv 1110.4181). REQUIRES: `genome` is [dimension], in [0, 1]; CheckAsk(1) passes.
  Proposal Inject(std::vector<double> genome);
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override { return ledger_.Adopt(logged); }
  std::string SaveState() const override;
  int batch_size() const override { return population_; }
  int dimension() const override { return genome_.dimension(); }
  int64_t generation() const override { return generation_; }
  // After restarts: of the run that has found the best fitness, of those that have converged.
  std::vector<double> Mean() const override;
  std::string Summary() const override;
  std::string StopReason() const override;

  ProposalId next_id() const { return ledger_.next_id(); }
  // Of the genes that are not categorical. REQUIRES: there are any.
  const CmaState& state() const { return *state_; }
  int restarts_made() const { return restarts_made_; }

 private:
  struct BestAndWorst {
    double best = 0;
    double worst = 0;
  };
  // Distribution number restarts_made_.
  void StartRun();
  absl::Status Learn(absl::Span<const Outcome> outcomes);
  // Files what was drawn for the next proposal.
  Proposal File(const double* gaussian, const std::vector<int>& levels);
  // What the distribution drew for a genome, [dimension]; a level's middle for a categorical gene.
  std::vector<double> PointOf(const Told& told) const;
  // Updates from the collected outcomes and empties them.
  absl::Status CloseGeneration();
  absl::Status UpdateDistribution(const std::vector<Told>& ranked);
  std::vector<double> MeanOfRun() const;
  // Why the current run has ended, or "".
  std::string RunStopReason() const;
  size_t history_length() const;

  // Constant after construction.
  CmaEsOptions options_;
  GenomeSpec genome_;
  uint64_t seed_;
  std::vector<int> gaussian_;       // genes of state_, ascending
  std::vector<int> categorical_;    // genes of categories_, ascending; the others
  std::vector<int> margin_levels_;  // of gaussian_; 0: no margin

  int population_ = 0;
  std::optional<CmaState> state_;               // empty if all genes are categorical
  std::optional<CategoricalState> categories_;  // empty if none is
  ProposalLedger ledger_;
  std::vector<Told> collected_;       // of the open generation, fewer than batch_size()
  std::deque<BestAndWorst> history_;  // scores of the last generations of the run, failed ones left out; for StopReason
  int64_t generation_ = 0;
  int64_t run_start_ = 0;  // generation_ when the current run began
  int restarts_made_ = 0;
  double run_best_ = kFailedScore;    // of the current run
  double ended_best_ = kFailedScore;  // of the runs before
  std::vector<double> ended_mean_;    // of the run that found ended_best_; empty without one
  int64_t ignored_ = 0;               // outcomes that came too late
  int64_t generations_all_failed_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_CMA_ES_H_

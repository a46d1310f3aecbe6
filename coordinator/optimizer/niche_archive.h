// An archive of niches in the manner of M2N2 (Y. Abrantes et al., "Competition and attraction improve
// model fusion", GECCO 2025, arXiv 2508.16204), with the objectives as the resources of the niches, as
// in CycleQD (arXiv 2410.14735).
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_NICHE_ARCHIVE_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_NICHE_ARCHIVE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
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

// Members compete for each objective: a member's share of objective j is its score there (0 the
// archive's lowest, 1 its highest) over the sum of all members' scores there, and its niche fitness
// is the sum of its shares. So who is good at what few are good at stays, even if its mean is low.
// A child has a first parent drawn in proportion to niche fitness and a second drawn in proportion to
// what it is better at than the first ("attraction"); genes before a random split are mixed by a
// random weight, those behind it by the complement; then each moves by N(0, deviation^2).
// Outcomes join in groups of batch_size(), a quarter of the archive unless said otherwise, in order of
// asking; for each the member of least niche fitness leaves. Late outcomes are as good as others. With
// one objective it is a plain genetic algorithm.
class NicheArchive : public Optimizer {
 public:
  static constexpr int kPopulationMin = 2;
  static constexpr int kPopulationMax = 10000;
  static constexpr int kDimensionMax = 100000;

  // `population`: members of the archive, [kPopulationMin, kPopulationMax]; `deviation` of a
  // mutation, [0, 1]; `group`: batch_size(), 0: a quarter of the archive, at least 2. REQUIRES: they
  // and the genome are in their ranges.
  NicheArchive(int population, double deviation, GenomeSpec genome, uint64_t seed, int group = 0);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<NicheArchive>> Restore(StateReader& reader);
  // The same as part of another optimizer's state.
  void SaveTo(StateWriter& writer) const;
  static absl::StatusOr<std::unique_ptr<NicheArchive>> RestorePart(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override { return ledger_.Adopt(logged); }
  std::string SaveState() const override;
  // Files a child of two members under the next id. REQUIRES: there are two; CheckAsk passes.
  Proposal Breed();
  // Files a genome of another search under the next id; told like a child. REQUIRES: `genome` is [dimension], in
  // [0, 1]; CheckAsk passes.
  Proposal Inject(std::vector<double> genome) { return ledger_.Add(std::move(genome), 0); }
  int batch_size() const override { return group_; }
  int dimension() const override { return genome_.dimension(); }
  int64_t generation() const override { return ledger_.told() / batch_size(); }
  std::string Summary() const override;

  ProposalId next_id() const { return ledger_.next_id(); }
  // In order of id.
  const std::vector<Individual>& members() const { return members_; }

 private:
  // [member][objective], in [0, 1].
  std::vector<std::vector<double>> Scores() const;
  std::vector<double> Child(Rng& rng) const;
  Rng NextRng() const;  // of the next id
  void Join(const Individual& one);

  // Constant after construction.
  int population_;
  double deviation_;
  GenomeSpec genome_;
  uint64_t seed_;
  int group_;

  ProposalLedger ledger_;
  std::vector<Individual> members_;  // at most population_, none failed, in order of id
  std::vector<Individual> waiting_;  // fewer than batch_size()
};

// Sum over objectives of a member's score over all members' scores. Exposed for tests.
std::vector<double> NicheFitness(const std::vector<std::vector<double>>& scores);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_NICHE_ARCHIVE_H_

// Random search: the baseline that every other optimizer has to beat.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_RANDOM_SEARCH_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_RANDOM_SEARCH_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/proposal_ledger.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// Uniform in the box, so uniform over the levels of a discrete gene. Learns nothing; outcomes are only counted, and a
// generation is any `population` of them.
class RandomSearch : public Optimizer {
 public:
  static constexpr int kPopulationMax = 10000;
  static constexpr int kDimensionMax = 1000000;

  // REQUIRES: population in [1, kPopulationMax], dimension in [1, kDimensionMax] (CreateOptimizer
  // checks them).
  RandomSearch(int population, int dimension, uint64_t seed);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<RandomSearch>> Restore(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override { return ledger_.Adopt(logged); }
  std::string SaveState() const override;
  int batch_size() const override { return population_; }
  int dimension() const override { return dimension_; }
  int64_t generation() const override { return ledger_.told() / population_; }
  std::string Summary() const override;

 private:
  // Constant after construction.
  int population_;
  int dimension_;
  uint64_t seed_;

  ProposalLedger ledger_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_RANDOM_SEARCH_H_

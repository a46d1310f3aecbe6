// The interface of every search strategy, and the two values that cross it.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_OPTIMIZER_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_OPTIMIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace merganser {

// 0, 1, 2, ... in the order of asking, without gaps.
using ProposalId = int64_t;

struct Proposal {
  ProposalId id = 0;
  std::vector<double> genome;  // [dimension], every number in [0, 1]
  bool operator==(const Proposal&) const = default;
};

struct Outcome {
  ProposalId id = 0;
  // One number per objective, larger is better, the same count in every outcome; ignored when
  // `failed`. An outcome with a number that is not finite counts as failed. Optimizers of one
  // objective rank by the mean of the numbers.
  std::vector<double> fitness;
  bool failed = false;  // ranked behind every outcome that has a fitness
  bool operator==(const Outcome&) const = default;
};

// Proposes genomes and learns from their fitness. Pure: the same options, seed and sequence of
// calls give the same proposals and the same state, bit for bit, on one build. No clock, no thread,
// no I/O.
//
// A proposal is outstanding from its Ask until the Tell of its outcome. Proposals may be asked for
// at any time, also while others are outstanding and beyond one generation; each optimizer says
// what it does with outcomes that arrive late. A caller that asks for batch_size() proposals and
// tells all of them before it asks again gets a search that does not depend on the order in which
// evaluations finish.
//
// Not thread-safe; only the job loop calls it.
class Optimizer {
 public:
  // Outstanding proposals at most; every proposal must end in a Tell (as failed, if nothing else).
  static constexpr int kOutstandingMax = 100000;

  virtual ~Optimizer() = default;

  // Exactly `count` new proposals; Ask(a) then Ask(b) equals Ask(a + b). InvalidArgument if count <
  // 1; ResourceExhausted if more than kOutstandingMax would be outstanding.
  virtual absl::StatusOr<std::vector<Proposal>> Ask(int count) = 0;

  // Learns any batch of outcomes, keyed by id; their order inside the batch does not matter.
  // NotFound for an id that was never asked, AlreadyExists for one that was told before (or twice
  // in the batch), InvalidArgument for a wrong number of objectives. Leaves the state unchanged on
  // error.
  virtual absl::Status Tell(absl::Span<const Outcome> outcomes) = 0;

  // Replaces the genomes of outstanding proposals by the job log's, which are authoritative: a
  // replay on another type of CPU may round differently. NotFound if one is not outstanding,
  // InvalidArgument for a wrong length or a number outside [0, 1]. Leaves the state unchanged on
  // error.
  virtual absl::Status Adopt(absl::Span<const Proposal> logged) = 0;

  // Versioned text for RestoreOptimizer (factory.h); holds everything, the outstanding proposals
  // and the random stream included. It only shortens a restart: replaying Ask, Adopt and Tell gives
  // the same state.
  virtual std::string SaveState() const = 0;

  // Outcomes in one generation.
  virtual int batch_size() const = 0;
  virtual int dimension() const = 0;
  // Generations learned from so far.
  virtual int64_t generation() const = 0;

  // Best guess of where the optimum is, [dimension], in [0, 1]; empty where the strategy has none.
  // Under noisy fitness it is a better final answer than the best candidate measured.
  virtual std::vector<double> Mean() const { return {}; }
  // One line for people: how far the search is and how wide it still looks.
  virtual std::string Summary() const = 0;
  // Why asking for more is pointless (the search has collapsed to a point); "" while it is worth
  // it. Ask goes on working.
  virtual std::string StopReason() const { return ""; }
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_OPTIMIZER_H_

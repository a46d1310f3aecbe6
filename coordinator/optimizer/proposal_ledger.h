// Which proposals are outstanding: the id rules of optimizer.h, shared by all optimizers.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_PROPOSAL_LEDGER_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_PROPOSAL_LEDGER_H_

#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// The score of a failed outcome: behind every finite number.
inline constexpr double kFailedScore = -std::numeric_limits<double>::infinity();

// An outcome joined with its proposal.
struct Told {
  ProposalId id = 0;
  std::vector<double> genome;
  std::vector<double> point;    // as given to Add; empty if there was none or the log's genome has replaced it
  int64_t generation = 0;       // of the distribution that the genome was drawn from
  bool injected = false;        // as given to Add
  double score = 0;             // mean of the objectives, or kFailedScore
  std::vector<double> fitness;  // [objectives]; empty if failed
};

// Larger score first; equal scores in the order of asking.
inline bool RanksBefore(const Told& a, const Told& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; }

// A copyable value. Not thread-safe.
class ProposalLedger {
 public:
  explicit ProposalLedger(int dimension) : dimension_(dimension) {}

  // The errors of Optimizer::Ask.
  absl::Status CheckAsk(int count) const;
  ProposalId next_id() const { return next_id_; }
  // Files `genome` under next_id(), with the point of the optimizer's own space that it came from,
  // where that is another; `injected`: it came from elsewhere. REQUIRES: CheckAsk passed for it; `point` is empty or
  // [dimension].
  Proposal Add(std::vector<double> genome, int64_t generation, std::vector<double> point = {}, bool injected = false);
  // The outcomes in order of id; their proposals are no longer outstanding. The errors are those of
  // Optimizer::Tell, all of them found before anything changes.
  absl::StatusOr<std::vector<Told>> Take(absl::Span<const Outcome> outcomes);
  // As Optimizer::Adopt. A genome equal to the filed one but for rounding keeps its point.
  absl::Status Adopt(absl::Span<const Proposal> logged);

  bool IsOutstanding(ProposalId id) const { return outstanding_.contains(id); }
  // In order of id.
  std::vector<std::vector<double>> OutstandingGenomes() const;
  int64_t outstanding() const { return static_cast<int64_t>(outstanding_.size()); }
  int64_t told() const { return next_id_ - outstanding(); }
  int64_t failed() const { return failed_; }

  void Save(StateWriter& writer) const;
  // `generation_max`: no proposal can be younger. Check reader.ok() afterwards.
  void Load(StateReader& reader, int64_t generation_max);

 private:
  struct Entry {
    std::vector<double> genome;
    int64_t generation = 0;
    std::vector<double> point;
    bool injected = false;
  };
  // NotFound, AlreadyExists or OK.
  absl::Status CheckOutstanding(ProposalId id) const;

  int dimension_;
  ProposalId next_id_ = 0;
  int64_t failed_ = 0;
  int64_t objectives_ = 0;  // 0 until the first fitness is told
  std::map<ProposalId, Entry> outstanding_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_PROPOSAL_LEDGER_H_

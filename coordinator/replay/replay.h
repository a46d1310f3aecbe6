// A search played against a model of recorded outcomes.
#ifndef MERGANSER_COORDINATOR_REPLAY_REPLAY_H_
#define MERGANSER_COORDINATOR_REPLAY_REPLAY_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/job_spec.h"
#include "coordinator/replay/responses.h"

namespace merganser {

struct ReplayOptions {
  // Which samples a candidate is scored on.
  enum class Samples {
    kFixed,  // the same for all candidates
    kFresh,  // drawn anew for each generation, the same for all of it
    // As kFresh, in blocks of kRaceBlock. After each block, a candidate that the paired test (binomial, in its normal form,
    // one-sided, 5 %) finds worse than the candidate in the middle of the ranking scores no more samples and ranks behind
    // those that go on.
    kRace,
    // As kFresh, but once kInformativeAfter candidates have been scored, those samples that tell most about candidates such
    // as the last generation's (item_response.h).
    kFisher,
    // As kFixed, and the optimizer is told what the score on all samples that are not held out is estimated to be, from
    // those few and from `known` (score_estimate.h).
    kEstimated,
  };
  static constexpr int kRaceBlock = 16;

  std::vector<int64_t> sample_evaluations;  // budgets, ascending, each >= 1; candidates times samples each
  int samples_per_candidate = 0;            // in [1, samples that are not held out]; 0: all of those
  Samples samples = Samples::kFixed;
  double held_out = 0.4;  // share of the samples that no candidate is scored on, in (0, 1)
  // That many of the best measured candidates, and Optimizer::Mean, are scored once more, on all samples that are not held
  // out; the best there is the answer. Within the budget. >= 0.
  int finalists = 0;
  // kEstimated: what models that are known before the search get right, [samples] each; at least one.
  std::vector<std::vector<bool>> known;
  uint64_t seed = 0;  // of the search and of the choice of samples, not of what is held out
};

// What a search returns that has spent a budget. Whole generations, at least one.
struct ReplayResult {
  int64_t sample_evaluations = 0;  // spent, finalists included
  int64_t candidates = 0;
  std::vector<double> best_genome;
  double best_measured = 0;    // fitness of the best candidate on its own samples, or its estimate
  double best_held_out = 0;    // the same candidate's score on the held-out samples
  double mean_held_out = 0;    // of Optimizer::Mean; of the best candidate where there is none
  double answer_held_out = 0;  // of the best finalist; of the best candidate where there are none
};

// A result per budget, of one and the same search. Errors of CreateOptimizer; InvalidArgument for an option out of its
// range.
absl::StatusOr<std::vector<ReplayResult>> Replay(const OptimizerSpec& optimizer, const ResponseModel& model,
                                                 const ReplayOptions& options);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_REPLAY_H_

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
  int64_t sample_evaluations = 0;  // budget: candidates times samples each, >= 1
  // Samples per candidate, in [1, samples that are not held out]; 0: all of those.
  int samples_per_candidate = 0;
  bool fresh_samples = false;  // drawn anew for each generation, the same for all of it; else once
  double held_out = 0.4;       // share of the samples that no candidate is scored on, in (0, 1)
  uint64_t seed = 0;           // of the search and of the choice of samples, not of what is held out
};

struct ReplayResult {
  int64_t candidates = 0;  // whole generations within the budget, at least one
  std::vector<double> best_genome;
  double best_measured = 0;  // fitness of the best candidate on its own samples
  double best_held_out = 0;  // the same candidate's score on the held-out samples
  double mean_held_out = 0;  // of Optimizer::Mean; of the best candidate where there is none
};

// Errors of CreateOptimizer; InvalidArgument for an option out of its range.
absl::StatusOr<ReplayResult> Replay(const OptimizerSpec& optimizer, const ResponseModel& model,
                                    const ReplayOptions& options);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_REPLAY_H_

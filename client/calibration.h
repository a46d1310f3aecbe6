// How long a candidate takes on this machine, measured before the work starts.
#ifndef MERGANSER_CLIENT_CALIBRATION_H_
#define MERGANSER_CLIENT_CALIBRATION_H_

#include <stop_token>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/domain/job_spec.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

struct Calibration {
  absl::Duration per_candidate;
  bool cut = false;  // it was stopped at the limit: a candidate takes longer than that
};

// Merges and scores the plain average of the job's sources once, on the search's benchmarks, for at
// most `limit`. Errors: those of Evaluate; Cancelled after a stop request.
absl::StatusOr<Calibration> Calibrate(const JobSpec& spec, CandidateEvaluator& evaluator, absl::Duration limit,
                                      std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_CALIBRATION_H_

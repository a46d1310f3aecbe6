// How long a candidate takes on this machine, measured before the work starts.
#ifndef MERGANSER_CLIENT_CALIBRATION_H_
#define MERGANSER_CLIENT_CALIBRATION_H_

#include <cstdint>
#include <stop_token>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/domain/job_spec.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

struct Calibration {
  absl::Duration per_candidate;
  bool cut = false;              // it was stopped at the limit: a candidate takes longer than that
  int64_t generated_tokens = 0;  // by that candidate; 0 where it was cut or nothing is generated
};

// Merges and scores the plain average of the job's sources once, on what a candidate of the search is scored on (a draw
// where samples are drawn, no finalists' benchmark), for at most `limit`. Errors: those of Evaluate; Cancelled after a stop
// request.
absl::StatusOr<Calibration> Calibrate(const JobSpec& spec, CandidateEvaluator& evaluator, absl::Duration limit,
                                      std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_CALIBRATION_H_

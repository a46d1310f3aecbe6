// A job that this machine has loaded: the common beginning of `validate` and `run`.
#ifndef MERGANSER_CLIENT_PREPARED_JOB_H_
#define MERGANSER_CLIENT_PREPARED_JOB_H_

#include <memory>
#include <optional>
#include <stop_token>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/calibration.h"
#include "client/job_plan.h"
#include "common/config/job_file.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

struct PreparedJob {
  LocalLibrary* library = nullptr;  // lives as long as the process
  std::unique_ptr<CandidateEvaluator> evaluator;
  JobPlan plan;
  absl::Duration load_time;
};

// Opens checkpoints, tokenizer and data of `file` and plans the search; with `calibration_limit` it
// also measures a candidate. Errors name the file and line of the field that is to blame.
// FailedPrecondition: no such device, or the library that runs models cannot be loaded. Cancelled
// after a stop request.
absl::StatusOr<PreparedJob> PrepareJob(const JobFile& file, const LocalOptions& options,
                                       std::optional<absl::Duration> calibration_limit, std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_PREPARED_JOB_H_

// What an evaluator's error means for the candidate.
#ifndef MERGANSER_WORKER_AGENT_FAILURE_CLASS_H_
#define MERGANSER_WORKER_AGENT_FAILURE_CLASS_H_

#include "absl/status/status.h"
#include "common/domain/candidate.h"

namespace merganser {

// By the code, never by the text (candidate_evaluator.h): errors that are the same on any worker are kInfeasible. What
// this worker lacks or forbids (NotFound, PermissionDenied, FailedPrecondition) is kTransient: another may have it, and the
// very same error on a second one ends the candidate. REQUIRES: !status.ok().
FailureClass FailureClassOf(const absl::Status& status);

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_FAILURE_CLASS_H_

#include "common/domain/candidate.h"

#include "common/domain/events.h"

namespace merganser {

absl::string_view ToString(CandidateKind kind) {
  switch (kind) {
    case CandidateKind::kPrepare:
      return "prepare";
    case CandidateKind::kSource:
      return "source";
    case CandidateKind::kAverage:
      return "average";
    case CandidateKind::kSearch:
      return "search";
    case CandidateKind::kFinalist:
      return "finalist";
    case CandidateKind::kHeldOut:
      return "held_out";
  }
  return "unknown";
}

absl::string_view ToString(CandidateState state) {
  switch (state) {
    case CandidateState::kQueued:
      return "queued";
    case CandidateState::kRunning:
      return "running";
    case CandidateState::kSucceeded:
      return "succeeded";
    case CandidateState::kFailed:
      return "failed";
    case CandidateState::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

absl::string_view ToString(FailureClass failure) {
  switch (failure) {
    case FailureClass::kWorkerLost:
      return "worker_lost";
    case FailureClass::kReleased:
      return "released";
    case FailureClass::kTransient:
      return "transient";
    case FailureClass::kInfeasible:
      return "infeasible";
    case FailureClass::kCrashed:
      return "crashed";
    case FailureClass::kTimedOut:
      return "timed_out";
    case FailureClass::kOutOfMemory:
      return "out_of_memory";
    case FailureClass::kUnavailable:
      return "unavailable";
  }
  return "unknown";
}

absl::string_view ToString(JobPhase phase) {
  switch (phase) {
    case JobPhase::kPreparing:
      return "preparing";
    case JobPhase::kBaselines:
      return "baselines";
    case JobPhase::kSearch:
      return "search";
    case JobPhase::kFinalists:
      return "finalists";
    case JobPhase::kHeldOut:
      return "held_out";
    case JobPhase::kSucceeded:
      return "succeeded";
    case JobPhase::kFailed:
      return "failed";
    case JobPhase::kCancelled:
      return "cancelled";
    case JobPhase::kDamaged:
      return "damaged";
  }
  return "unknown";
}

absl::string_view ToString(ActionKind kind) {
  switch (kind) {
    case ActionKind::kSubmitted:
      return "submitted";
    case ActionKind::kPaused:
      return "paused";
    case ActionKind::kResumed:
      return "resumed";
    case ActionKind::kUpdated:
      return "updated";
    case ActionKind::kCancelled:
      return "cancelled";
    case ActionKind::kWorkerDrained:
      return "worker_drained";
    case ActionKind::kWorkerQuarantined:
      return "worker_quarantined";
    case ActionKind::kWorkerReleased:
      return "worker_released";
  }
  return "unknown";
}

}  // namespace merganser

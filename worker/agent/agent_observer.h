// Sees what an agent does, for metrics.
#ifndef MERGANSER_WORKER_AGENT_AGENT_OBSERVER_H_
#define MERGANSER_WORKER_AGENT_AGENT_OBSERVER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/domain/evaluation.h"

namespace merganser {

// Called on the agent's threads; must not block.
class AgentObserver {
 public:
  virtual ~AgentObserver() = default;
  // `outcome`: "succeeded", "cancelled" or the word of a FailureClass. `took`: in the evaluator.
  virtual void OnAttempt(absl::string_view outcome, absl::Duration took) = 0;
  virtual void OnEvaluation(const Evaluation& evaluation) = 0;
  // A report was answered; `recording`: from the end of the evaluation to the answer.
  virtual void OnReported(absl::string_view disposition, absl::Duration recording) = 0;
  // Results on disk that wait for the store.
  virtual void OnSpool(int64_t results) = 0;
  // The store was asked to keep a record. OK: it does, or refuses it for good; else why it is asked again.
  virtual void OnRecordWrite(const absl::Status& /*status*/) {}
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_AGENT_OBSERVER_H_

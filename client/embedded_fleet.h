// Coordinator and worker in this process: what `merganser run` has instead of a fleet.
#ifndef MERGANSER_CLIENT_EMBEDDED_FLEET_H_
#define MERGANSER_CLIENT_EMBEDDED_FLEET_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/store_watch.h"
#include "common/store/results_store.h"
#include "coordinator/job/job_manager.h"
#include "worker/agent/agent.h"
#include "worker/agent/in_process_link.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

// Thread-compatible; the job manager that it gives may be used from any thread.
class EmbeddedFleet {
 public:
  // Leads `store`, replays its jobs, and connects one worker over `evaluator`; both outlive the
  // fleet. `device`: shown to people. Errors: JobManager::Start's.
  static absl::StatusOr<std::unique_ptr<EmbeddedFleet>> Start(ResultsStore* store, CandidateEvaluator* evaluator,
                                                              const std::string& device);
  // Stop().
  ~EmbeddedFleet();

  JobManager& jobs() { return *manager_; }
  const StoreWatch& store_watch() const { return watch_; }
  // Stops the candidate at work, without a result, and the job loop. What is recorded stays
  // recorded. Idempotent.
  void Stop();

 private:
  EmbeddedFleet() = default;

  // Destroyed in reverse: the agent before its link, the link before the manager, all before what watches them.
  StoreWatch watch_;
  std::unique_ptr<JobManager> manager_;
  std::unique_ptr<InProcessLink> link_;
  std::unique_ptr<Agent> agent_;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_EMBEDDED_FLEET_H_

// An agent and a job manager in one process: what `merganser run` has instead of gRPC.
#ifndef MERGANSER_WORKER_AGENT_IN_PROCESS_LINK_H_
#define MERGANSER_WORKER_AGENT_IN_PROCESS_LINK_H_

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/job/job_manager.h"
#include "worker/agent/agent.h"
#include "worker/agent/coordinator_link.h"

namespace merganser {

// Order of life: manager, link, agent (which takes the link), Connect ... Disconnect, agent gone, link gone.
// Thread-safe.
class InProcessLink final : public CoordinatorLink {
 public:
  // `manager` outlives it. `heartbeat_interval`: JobManagerOptions::heartbeat_interval.
  explicit InProcessLink(JobManager* manager, absl::Duration heartbeat_interval = absl::Seconds(5));
  // Disconnect().
  ~InProcessLink() override;

  // Announces `agent` to the manager and starts heartbeats. Errors as JobManager::WorkerConnected. Once.
  absl::Status Connect(Agent* agent);
  // Ends the heartbeats and tells the manager that the worker is gone; the agent gets no further call. Idempotent.
  void Disconnect();

  absl::StatusOr<Disposition> Report(const AttemptReport& report) override;

 private:
  class Endpoint;

  void Heartbeats(Agent* agent);

  // Constant after construction.
  JobManager* const manager_;
  const absl::Duration heartbeat_interval_;
  const std::shared_ptr<Endpoint> endpoint_;  // shared with the manager

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::string worker_id_ ABSL_GUARDED_BY(mu_);  // "" before Connect

  std::thread thread_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_IN_PROCESS_LINK_H_

#include "worker/agent/in_process_link.h"

#include <utility>

#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {

// Outlives the agent in the manager's hands, so it forgets the agent when the link disconnects.
class InProcessLink::Endpoint final : public WorkerLink {
 public:
  void Set(Agent* agent) {
    absl::MutexLock lock(&mu_);
    agent_ = agent;
  }
  void Assign(const Assignment& assignment) override {
    absl::MutexLock lock(&mu_);
    if (agent_ != nullptr) agent_->Assign(assignment);
  }
  void Cancel(const AttemptId& id) override {
    absl::MutexLock lock(&mu_);
    if (agent_ != nullptr) agent_->Cancel(id);
  }
  void Drain() override {
    absl::MutexLock lock(&mu_);
    if (agent_ != nullptr) agent_->Drain();
  }
  void Acknowledge(const std::vector<RunningAttempt>& unknown) override {
    absl::MutexLock lock(&mu_);
    for (const RunningAttempt& attempt : unknown) {
      if (agent_ != nullptr) agent_->Cancel(attempt.id);
    }
  }
  void GoAway(absl::Duration /*retry_after*/) override {}  // both ends stop together

 private:
  absl::Mutex mu_;  // held over the agent's methods, which only queue
  Agent* agent_ ABSL_GUARDED_BY(mu_) = nullptr;
};

InProcessLink::InProcessLink(JobManager* manager, absl::Duration heartbeat_interval)
    : manager_(manager), heartbeat_interval_(heartbeat_interval), endpoint_(std::make_shared<Endpoint>()) {}

InProcessLink::~InProcessLink() { Disconnect(); }

absl::Status InProcessLink::Connect(Agent* agent) {
  endpoint_->Set(agent);
  const absl::Status status = manager_->WorkerConnected(agent->info(), agent->running(), endpoint_);
  if (!status.ok()) {
    endpoint_->Set(nullptr);
    return status;
  }
  {
    absl::MutexLock lock(&mu_);
    worker_id_ = agent->info().id;
  }
  thread_ = std::thread([this, agent] { Heartbeats(agent); });
  return absl::OkStatus();
}

void InProcessLink::Heartbeats(Agent* agent) {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stopping_), heartbeat_interval_)) return;
    }
    manager_->WorkerHeartbeat(agent->info().id, agent->running(), agent->draining());
  }
}

void InProcessLink::Disconnect() {
  std::string worker_id;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    worker_id.swap(worker_id_);
  }
  if (thread_.joinable()) thread_.join();
  endpoint_->Set(nullptr);
  if (!worker_id.empty()) manager_->WorkerDisconnected(worker_id, endpoint_.get(), /*gone=*/true);
}

absl::StatusOr<Disposition> InProcessLink::Report(const AttemptReport& report) { return manager_->ReportAttempt(report); }

}  // namespace merganser

#include "client/embedded_fleet.h"

#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/codec/job_codec.h"

namespace merganser {

absl::StatusOr<std::unique_ptr<EmbeddedFleet>> EmbeddedFleet::Start(ResultsStore* store, CandidateEvaluator* evaluator,
                                                                    const std::string& device) {
  std::unique_ptr<EmbeddedFleet> fleet(new EmbeddedFleet);
  JobManagerOptions options;
  options.holder = "merganser run";
  // The worker of an earlier process died with it: nothing can re-attach.
  options.reattach_window = absl::ZeroDuration();
  fleet->manager_ = JobManager::Create(store, &ProtoJobCodec(), &Clock::Real(), &fleet->watch_, options);
  MG_RETURN_IF_ERROR(fleet->manager_->Start());
  fleet->link_ = std::make_unique<InProcessLink>(fleet->manager_.get());
  AgentOptions agent_options;
  agent_options.info.id = "embedded";
  agent_options.info.name = "embedded";
  agent_options.info.version = kVersion;
  agent_options.info.device = device;
  fleet->agent_ = std::make_unique<Agent>(evaluator, store, agent_options, fleet->link_.get(), &fleet->watch_);
  MG_RETURN_IF_ERROR(fleet->link_->Connect(fleet->agent_.get()));
  return fleet;
}

EmbeddedFleet::~EmbeddedFleet() { Stop(); }

void EmbeddedFleet::Stop() {
  // Disconnected last: a worker that leaves a manager at work is a fault that it would log.
  if (agent_ != nullptr) agent_->Stop();
  if (manager_ != nullptr) manager_->Stop();
  if (link_ != nullptr) link_->Disconnect();
}

}  // namespace merganser

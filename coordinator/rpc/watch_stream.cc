#include "coordinator/rpc/watch_stream.h"

#include <exception>
#include <utility>

#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"

namespace merganser {

WatchStream::WatchStream(const ServiceContext* services, const v1::WatchJobRequest& request)
    : services_(services),
      job_(request.job()),
      after_seq_(request.after_seq()),
      start_(Clock::Real().Monotonic()),
      gate_([this](grpc::Status status) { this->Finish(std::move(status)); }) {}

std::shared_ptr<WatchStream> WatchStream::Start(const ServiceContext* services, CallPool* watchers,
                                                grpc::CallbackServerContext* context, const v1::WatchJobRequest& request) {
  auto stream = std::make_shared<WatchStream>(services, request);
  stream->self_ = stream;
  const absl::Status allowed = services->authorizer->Authorize(*context, Role::kViewer);
  if (!allowed.ok()) {
    stream->End(allowed);
  } else if (!watchers->Run([stream] { stream->Run(); })) {
    stream->End(watchers->stopped() ? absl::UnavailableError("the coordinator is shutting down")
                                    : absl::ResourceExhaustedError("too many clients watch jobs; try again"));
  }
  return stream;
}

void WatchStream::End(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (!ended_) status_ = status;
    ended_ = true;
  }
  gate_.Finish(ToGrpc(status));
}

void WatchStream::Run() {
  absl::Status status;
  try {
    status = Watch();
  } catch (const std::exception& e) {
    MG_LOG(ERROR) << "watch threw error=" << e.what();
    status = absl::InternalError("the coordinator failed at this call; its log says more");
  }
  End(status);
}

absl::Status WatchStream::Watch() {
  MG_ASSIGN_OR_RETURN(const JobSummary first, services_->manager->GetJob(job_));
  v1::WatchJobResponse message;
  *message.mutable_job() = ToProto(first);
  if (!Write(std::move(message))) return absl::CancelledError();
  int64_t seq = after_seq_;
  const std::string id = first.id;  // a newer job may take over the name
  while (true) {
    MG_ASSIGN_OR_RETURN(const JobManager::EventBatch batch, services_->manager->WaitForEvents(id, seq, kPoll));
    for (const auto& [event_seq, event] : batch.events) {
      v1::WatchJobResponse response;
      response.set_seq(event_seq);
      *response.mutable_event() = ToProto(event);
      if (!Write(std::move(response))) return absl::CancelledError();
      seq = event_seq;
    }
    if (batch.events.empty()) {
      if (IsTerminal(batch.job.phase)) return absl::OkStatus();
      absl::MutexLock lock(&mu_);
      if (ended_) return absl::CancelledError();
      continue;
    }
    v1::WatchJobResponse response;
    *response.mutable_job() = ToProto(batch.job);
    if (!Write(std::move(response))) return absl::CancelledError();
  }
}

bool WatchStream::Write(v1::WatchJobResponse message) {
  {
    absl::MutexLock lock(&mu_);
    if (ended_) return false;
    writing_ = true;
  }
  message_ = std::move(message);
  if (!gate_.Start([this] { StartWrite(&message_); })) return false;
  absl::MutexLock lock(&mu_);
  const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !writing_ || ended_; };
  mu_.Await(absl::Condition(&done));
  return !ended_;
}

void WatchStream::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mu_);
  writing_ = false;
  if (!ok) ended_ = true;  // OnCancel finishes it
}

void WatchStream::OnCancel() { End(absl::CancelledError("the client left")); }

void WatchStream::OnDone() {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    ended_ = true;
    status = status_;
  }
  Observe(*services_, "WatchJob", status, start_);
  self_.reset();  // last: may delete this
}

}  // namespace merganser

#include "coordinator/rpc/worker_session.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/codec/time_codec.h"
#include "common/rpc/dispatch_codec.h"

namespace merganser {
namespace {

absl::Status CheckText(absl::string_view field, const std::string& text) {
  if (text.size() <= WorkerSession::kTextMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", text.size(), " characters, more than ", WorkerSession::kTextMax));
}

absl::Status CheckRunning(absl::string_view field, const google::protobuf::RepeatedPtrField<v1::RunningAttempt>& running) {
  if (running.size() > WorkerSession::kRunningMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": ", running.size(), " attempts, more than ", WorkerSession::kRunningMax));
  }
  for (const v1::RunningAttempt& attempt : running) {
    MG_RETURN_IF_ERROR(CheckText(absl::StrCat(field, ".phase"), attempt.phase()));
    MG_RETURN_IF_ERROR(CheckText(absl::StrCat(field, ".token"), attempt.token()));
    MG_RETURN_IF_ERROR(CheckText(absl::StrCat(field, ".job_id"), attempt.job_id()));
  }
  return absl::OkStatus();
}

}  // namespace

WorkerSession::WorkerSession(const ServiceContext* services, CallPool* pool, const SessionOptions& options)
    : services_(services),
      pool_(pool),
      options_(options),
      start_(Clock::Real().Monotonic()),
      gate_([this](grpc::Status status) { this->Finish(std::move(status)); }) {}

std::shared_ptr<WorkerSession> WorkerSession::Start(const ServiceContext* services, CallPool* pool,
                                                    const SessionOptions& options, grpc::CallbackServerContext* context) {
  auto session = std::make_shared<WorkerSession>(services, pool, options);
  session->self_ = session;
  const absl::Status allowed = Admit(*services, *context, "Session", Role::kWorker);
  if (allowed.ok()) {
    session->gate_.Start([&] { session->StartRead(&session->incoming_); });
  } else {
    session->End(allowed);
  }
  return session;
}

void WorkerSession::End(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (!ended_) status_ = status;
    ended_ = true;
  }
  gate_.Finish(ToGrpc(status));
}

void WorkerSession::RunOnPool(void (WorkerSession::*step)()) {
  const bool runs = pool_->Run([session = shared_from_this(), step] {
    try {
      (session.get()->*step)();
    } catch (const std::exception& e) {
      MG_LOG(ERROR) << "session threw worker=" << session->worker_id_ << " error=" << e.what();
      session->End(absl::InternalError("the coordinator failed at this message; its log says more"));
    }
  });
  if (!runs) End(absl::UnavailableError("this coordinator is overloaded or going away"));
}

void WorkerSession::OnReadDone(bool ok) { RunOnPool(ok ? &WorkerSession::Handle : &WorkerSession::Disconnect); }

absl::Status WorkerSession::HandleHello(const v1::Hello& hello) {
  if (!worker_id_.empty()) return absl::InvalidArgumentError("hello: sent twice");
  MG_RETURN_IF_ERROR(CheckText("hello.worker_id", hello.worker_id()));
  MG_RETURN_IF_ERROR(CheckText("hello.name", hello.name()));
  MG_RETURN_IF_ERROR(CheckText("hello.version", hello.version()));
  MG_RETURN_IF_ERROR(CheckText("hello.device", hello.device()));
  MG_RETURN_IF_ERROR(CheckRunning("hello.running", hello.running()));
  MG_ASSIGN_OR_RETURN(const WorkerInfo info, FromProto(hello));
  v1::SessionResponse message;
  *message.mutable_welcome()->mutable_heartbeat_interval() = ToProto(options_.heartbeat_interval);
  *message.mutable_welcome()->mutable_lease() = ToProto(options_.lease);
  message.mutable_welcome()->set_coordinator_version(kVersion);
  Send(std::move(message));  // before the manager may assign
  MG_RETURN_IF_ERROR(services_->manager->WorkerConnected(info, FromProto(hello.running()), shared_from_this()));
  worker_id_ = info.id;
  MG_LOG(INFO) << "worker connected id=" << info.id << " name=" << info.name << " device=" << info.device
               << " version=" << info.version << " running=" << hello.running_size();
  return absl::OkStatus();
}

void WorkerSession::Handle() {
  absl::Status status;
  switch (incoming_.message_case()) {
    case v1::SessionRequest::kHello:
      status = HandleHello(incoming_.hello());
      break;
    case v1::SessionRequest::kHeartbeat: {
      if (worker_id_.empty()) {
        status = absl::InvalidArgumentError("heartbeat: came before hello");
        break;
      }
      status = CheckRunning("heartbeat.running", incoming_.heartbeat().running());
      if (!status.ok()) break;
      const std::vector<RunningAttempt> running = FromProto(incoming_.heartbeat().running());
      goodbye_ = incoming_.heartbeat().draining() && running.empty();
      services_->manager->WorkerHeartbeat(worker_id_, running, incoming_.heartbeat().draining());
      break;
    }
    case v1::SessionRequest::MESSAGE_NOT_SET:
      break;  // of a newer version
  }
  if (!status.ok()) End(status);
  // Also after an error: the failed read tells when to disconnect. Once finished, nothing may start any more.
  if (!gate_.Start([this] { StartRead(&incoming_); })) Disconnect();
}

void WorkerSession::Disconnect() {
  if (!worker_id_.empty()) {
    MG_LOG(INFO) << "worker disconnected id=" << worker_id_ << " gone=" << goodbye_;
    services_->manager->WorkerDisconnected(worker_id_, this, goodbye_);
  }
  End(absl::OkStatus());
}

void WorkerSession::Send(v1::SessionResponse message, bool last) {
  bool overflow = false, start = false;
  const v1::SessionResponse* next = nullptr;
  {
    absl::MutexLock lock(&mu_);
    if (ended_ || last_queued_) return;
    overflow = writes_.size() >= kWritesMax;
    if (!overflow) {
      last_queued_ = last;
      writes_.push_back(std::move(message));
      start = writes_.size() == 1;
      next = &writes_.front();
    }
  }
  if (overflow) {
    MG_LOG(WARNING) << "worker reads too slowly: session closed queue_max=" << kWritesMax;
    End(absl::ResourceExhaustedError("the worker reads too slowly; connect again"));
  } else if (start) {
    gate_.Start([this, next] { StartWrite(next); });
  }
}

void WorkerSession::OnWriteDone(bool ok) {
  if (!ok) return;  // the failed read ends it
  const v1::SessionResponse* next = nullptr;
  bool end = false;
  {
    absl::MutexLock lock(&mu_);
    writes_.pop_front();
    if (!writes_.empty()) next = &writes_.front();
    end = writes_.empty() && last_queued_;
  }
  if (next != nullptr) gate_.Start([this, next] { StartWrite(next); });
  if (end) End(absl::UnavailableError("this coordinator lets the worker go"));
}

void WorkerSession::OnCancel() { End(absl::CancelledError("the worker's stream broke")); }

void WorkerSession::OnDone() {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    ended_ = true;
    status = status_;
  }
  Observe(*services_, "Session", status, start_);
  self_.reset();  // last: may delete this
}

void WorkerSession::Assign(const Assignment& assignment) {
  bool with_spec;
  {
    absl::MutexLock lock(&mu_);
    with_spec = last_job_ != assignment.id.job_id || last_spec_ != assignment.spec;
    last_job_ = assignment.id.job_id;
    last_spec_ = assignment.spec;
  }
  v1::SessionResponse message;
  *message.mutable_assign() = ToProto(assignment, with_spec);
  Send(std::move(message));
}

void WorkerSession::Cancel(const AttemptId& id) {
  v1::SessionResponse message;
  message.mutable_cancel()->set_job_id(id.job_id);
  message.mutable_cancel()->set_candidate(id.candidate);
  message.mutable_cancel()->set_attempt(id.attempt);
  Send(std::move(message));
}

void WorkerSession::Drain() {
  v1::SessionResponse message;
  message.mutable_drain();
  Send(std::move(message));
}

void WorkerSession::Acknowledge(const std::vector<RunningAttempt>& unknown) {
  v1::SessionResponse message;
  message.mutable_heartbeat_ack();
  for (const RunningAttempt& attempt : unknown) *message.mutable_heartbeat_ack()->add_unknown() = ToProto(attempt);
  Send(std::move(message));
}

void WorkerSession::GoAway(absl::Duration retry_after) {
  v1::SessionResponse message;
  *message.mutable_going_away()->mutable_retry_after() = ToProto(retry_after);
  Send(std::move(message), /*last=*/true);
}

}  // namespace merganser

#include "coordinator/rpc/worker_service.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/rpc/dispatch_codec.h"

namespace merganser {
namespace {

constexpr size_t kMessageMax = size_t{64} << 10;   // it is kept in the job's log
constexpr size_t kReportMax = kMessageMax + 4096;  // the rest are names and sums

}  // namespace

// Each session has at most one message in the pool, so the queue never refuses a session that was let in.
WorkerService::WorkerService(const ServiceContext* services, const SessionOptions& options, int threads, int transfers_max)
    : services_(services),
      options_(options),
      pool_(threads, kSessionsMax),
      transfers_pool_(transfers_max, /*queue_max=*/0) {}

WorkerService::~WorkerService() { Shutdown(); }

void WorkerService::Shutdown() {
  std::vector<std::weak_ptr<WorkerSession>> sessions;
  std::vector<std::weak_ptr<CheckpointStream>> transfers;
  {
    absl::MutexLock lock(&mu_);
    shut_down_ = true;
    sessions.swap(sessions_);
    transfers.swap(transfers_);
  }
  for (const auto& weak : transfers) {
    if (const auto transfer = weak.lock()) transfer->End(absl::UnavailableError("this coordinator is going away"));
  }
  for (const auto& weak : sessions) {
    if (const auto session = weak.lock()) session->End(absl::UnavailableError("this coordinator is going away"));
  }
  transfers_pool_.Stop();
  pool_.Stop();
}

grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>* WorkerService::Session(
    grpc::CallbackServerContext* context) {
  const std::shared_ptr<WorkerSession> session = WorkerSession::Start(services_, &pool_, options_, context);
  bool refuse;
  {
    absl::MutexLock lock(&mu_);
    if (sessions_.size() >= static_cast<size_t>(kSessionsMax) || sessions_.size() % 64 == 63) {
      std::erase_if(sessions_, [](const auto& weak) { return weak.expired(); });
    }
    refuse = shut_down_ || sessions_.size() >= static_cast<size_t>(kSessionsMax);
    if (!refuse) sessions_.push_back(session);
  }
  if (refuse) session->End(absl::UnavailableError("this coordinator takes no more sessions"));
  return session.get();  // alive: it holds itself until gRPC is done with it
}

grpc::ServerUnaryReactor* WorkerService::ReportAttempt(grpc::CallbackServerContext* context,
                                                       const v1::ReportAttemptRequest* request,
                                                       v1::ReportAttemptResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::Duration start = Clock::Real().Monotonic();
  const auto finish = [this, reactor, start](const absl::Status& status) {
    Observe(*services_, "ReportAttempt", status, start);
    reactor->Finish(ToGrpc(status));
  };
  absl::Status status = Admit(*services_, *context, "ReportAttempt", Role::kWorker);
  if (status.ok() && request->failure().message().size() > kMessageMax) {
    status = absl::InvalidArgumentError(
        absl::StrCat("failure.message: ", request->failure().message().size(), " characters, more than ", kMessageMax));
  }
  if (status.ok() && request->ByteSizeLong() > kReportMax) {
    status = absl::InvalidArgumentError(
        absl::StrCat("the report has ", request->ByteSizeLong(), " bytes, more than ", kReportMax));
  }
  absl::StatusOr<AttemptReport> report = status.ok() ? FromProto(*request) : status;
  if (!report.ok()) {
    finish(report.status());
    return reactor;
  }
  // No thread waits for it: thousands may report while the store syncs.
  services_->manager->ReportAttemptThen(*report, [response, finish](const absl::StatusOr<Disposition>& disposition) {
    if (disposition.ok()) response->set_disposition(std::string(ToString(*disposition)));
    finish(disposition.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* WorkerService::ListCheckpointFiles(grpc::CallbackServerContext* context,
                                                             const v1::ListCheckpointFilesRequest* request,
                                                             v1::ListCheckpointFilesResponse* response) {
  return RunUnary(*services_, context, *request, "ListCheckpointFiles", Role::kWorker, [this, request, response] {
    return merganser::ListCheckpointFiles(services_->share, *request, response);
  });
}

grpc::ServerWriteReactor<v1::ReadCheckpointFileResponse>* WorkerService::ReadCheckpointFile(
    grpc::CallbackServerContext* context, const v1::ReadCheckpointFileRequest* request) {
  const std::shared_ptr<CheckpointStream> stream =
      CheckpointStream::Start(services_, &transfers_pool_, services_->share, context, *request);
  bool refuse;
  {
    absl::MutexLock lock(&mu_);
    std::erase_if(transfers_, [](const auto& weak) { return weak.expired(); });
    refuse = shut_down_;
    if (!refuse) transfers_.push_back(stream);
  }
  if (refuse) stream->End(absl::UnavailableError("this coordinator is going away"));
  return stream.get();  // alive: it holds itself until gRPC is done with it
}

}  // namespace merganser

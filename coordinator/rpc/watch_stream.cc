#include "coordinator/rpc/watch_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"

namespace merganser {

WatchStream::WatchStream(const ServiceContext* services, const v1::WatchJobRequest& request)
    : WriteStream(services, "WatchJob"), job_(request.job()), after_seq_(request.after_seq()) {}

std::shared_ptr<WatchStream> WatchStream::Start(const ServiceContext* services, CallPool* watchers,
                                                grpc::CallbackServerContext* context, const v1::WatchJobRequest& request) {
  auto stream = std::make_shared<WatchStream>(services, request);
  stream->WriteStream::Start(watchers, Admit(*services, *context, "WatchJob", Role::kViewer),
                             "too many clients watch jobs; try again");
  return stream;
}

absl::Status WatchStream::Body() {
  MG_ASSIGN_OR_RETURN(const JobSummary first, services().manager->GetJob(job_));
  if (after_seq_ > first.seq) {
    return absl::OutOfRangeError(
        absl::StrCat("after_seq: ", after_seq_, " is beyond ", first.seq, ", the last event of ", first.id));
  }
  v1::WatchJobResponse message;
  *message.mutable_job() = ToProto(first);
  if (!Write(std::move(message))) return absl::CancelledError();
  JobPhase told = first.phase;
  int64_t seq = after_seq_;
  const std::string id = first.id;  // a newer job may take over the name
  while (true) {
    MG_ASSIGN_OR_RETURN(const JobManager::EventBatch batch, services().manager->WaitForEvents(id, seq, kPoll));
    for (const auto& [event_seq, event] : batch.events) {
      v1::WatchJobResponse response;
      response.set_seq(event_seq);
      *response.mutable_event() = ToProto(event);
      if (!Write(std::move(response))) return absl::CancelledError();
      seq = event_seq;
    }
    // A job that is set aside changes without an event.
    const bool changed = std::exchange(told, batch.job.phase) != batch.job.phase;
    if (batch.events.empty() && !changed) {
      if (IsTerminal(batch.job.phase)) return absl::OkStatus();
      if (ended()) return absl::CancelledError();
      continue;
    }
    v1::WatchJobResponse response;
    *response.mutable_job() = ToProto(batch.job);
    if (!Write(std::move(response))) return absl::CancelledError();
  }
}

}  // namespace merganser

#include "client/server_jobs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

using Stub = v1::JobService::StubInterface;

constexpr int kJobsPage = 100;
constexpr int kCandidatesPage = 200;                    // a recipe of many layers is some 10 kB
constexpr absl::string_view kClosed = "Socket closed";  // what plain text meets at a port that speaks TLS
constexpr absl::Duration kRetryPause = absl::Seconds(1);

}  // namespace

absl::Status WithAdvice(const absl::Status& status, const std::string& server) {
  if (absl::IsUnauthenticated(status)) {
    return Annotate(status,
                    absl::StrCat("coordinator ", server, " wants to know who calls (--token-file, or --cert and --key)"));
  }
  // Nobody here cancels a call that is answered once: a coordinator that goes away does.
  if (absl::IsCancelled(status)) return WithAdvice(absl::UnavailableError("it went away before it answered"), server);
  if (!absl::IsUnavailable(status)) return status;
  return absl::UnavailableError(
      absl::StrCat("coordinator ", server, ": ", status.message(),
                   absl::StrContains(status.message(), kClosed) ? "; one that speaks TLS needs --ca" : "",
                   " (--server or MERGANSER_SERVER says where it is; a `run` is read with --store DIR, its folder)"));
}

absl::StatusOr<v1::Job> ServerJobs::GetJob(const std::string& job) {
  v1::GetJobRequest request;
  request.set_job(job);
  MG_ASSIGN_OR_RETURN(v1::GetJobResponse response, CallServer(channel_, server_, stub_.get(), &Stub::GetJob, request));
  return std::move(*response.mutable_job());
}

absl::StatusOr<std::vector<v1::Job>> ServerJobs::ListJobs() {
  std::vector<v1::Job> jobs;
  v1::ListJobsRequest request;
  request.set_page_size(kJobsPage);
  do {
    MG_ASSIGN_OR_RETURN(v1::ListJobsResponse response, CallServer(channel_, server_, stub_.get(), &Stub::ListJobs, request));
    for (v1::Job& job : *response.mutable_jobs()) jobs.push_back(std::move(job));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return jobs;
}

absl::StatusOr<std::vector<v1::Candidate>> ServerJobs::ListCandidates(const std::string& job, const CandidateQuery& query) {
  std::vector<v1::Candidate> candidates;
  v1::ListCandidatesRequest request;
  request.set_job(job);
  request.set_kind(query.kind);
  request.set_state(query.state);
  request.set_order_by(query.order_by);
  request.set_page_size(query.limit > 0 ? static_cast<int>(std::min<int64_t>(query.limit, kCandidatesPage))
                                        : kCandidatesPage);
  do {
    MG_ASSIGN_OR_RETURN(v1::ListCandidatesResponse response,
                        CallServer(channel_, server_, stub_.get(), &Stub::ListCandidates, request));
    for (v1::Candidate& candidate : *response.mutable_candidates()) {
      candidates.push_back(std::move(candidate));
      if (static_cast<int64_t>(candidates.size()) == query.limit) return candidates;
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return candidates;
}

absl::StatusOr<v1::GetCandidateResponse> ServerJobs::DescribeCandidate(const std::string& job, int64_t number) {
  v1::GetCandidateRequest request;
  request.set_job(job);
  request.set_candidate(number);
  return CallServer(channel_, server_, stub_.get(), &Stub::GetCandidate, request);
}

absl::StatusOr<v1::Candidate> ServerJobs::GetCandidate(const std::string& job, int64_t number) {
  MG_ASSIGN_OR_RETURN(v1::GetCandidateResponse response, DescribeCandidate(job, number));
  return std::move(*response.mutable_candidate());
}

absl::StatusOr<v1::Job> ServerJobs::CreateJob(const v1::CreateJobRequest& request) {
  MG_ASSIGN_OR_RETURN(v1::CreateJobResponse response, CallServer(channel_, server_, stub_.get(), &Stub::CreateJob, request));
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::Job> ServerJobs::CancelJob(const std::string& job) {
  v1::CancelJobRequest request;
  request.set_job(job);
  MG_ASSIGN_OR_RETURN(v1::CancelJobResponse response, CallServer(channel_, server_, stub_.get(), &Stub::CancelJob, request));
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::Job> ServerJobs::PauseJob(const std::string& job) {
  v1::PauseJobRequest request;
  request.set_job(job);
  MG_ASSIGN_OR_RETURN(v1::PauseJobResponse response, CallServer(channel_, server_, stub_.get(), &Stub::PauseJob, request));
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::Job> ServerJobs::ResumeJob(const std::string& job) {
  v1::ResumeJobRequest request;
  request.set_job(job);
  MG_ASSIGN_OR_RETURN(v1::ResumeJobResponse response, CallServer(channel_, server_, stub_.get(), &Stub::ResumeJob, request));
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::UpdateJobResponse> ServerJobs::UpdateJob(const v1::UpdateJobRequest& request) {
  return CallServer(channel_, server_, stub_.get(), &Stub::UpdateJob, request);
}

// A coordinator hands a record out with its candidate, which its key names: "result:{job-1}:CANDIDATE:ATTEMPT:TOKEN".
absl::StatusOr<std::string> ServerJobs::GetRecord(const std::string& key) {
  const std::vector<std::string> job = absl::StrSplit(key, absl::ByAnyChar("{}"));
  const std::vector<std::string> rest = absl::StrSplit(job.back(), ':');
  v1::GetCandidateRequest request;
  int64_t number = 0;
  if (job.size() != 3 || rest.size() != 4 || !absl::SimpleAtoi(rest[1], &number)) {
    return absl::InvalidArgumentError(absl::StrCat("'", key, "' is not the key of a record"));
  }
  request.set_job(job[1]);
  request.set_candidate(number);
  request.set_with_record(true);
  MG_ASSIGN_OR_RETURN(const v1::GetCandidateResponse response,
                      CallServer(channel_, server_, stub_.get(), &Stub::GetCandidate, request));
  if (!response.has_record() || response.candidate().record_key() != key) {
    return absl::NotFoundError(absl::StrCat("no record '", key, "'"));
  }
  return response.record().SerializeAsString();
}

absl::Status ServerJobs::Follow(const std::string& job, int64_t after_seq, absl::Time deadline, std::stop_token stop,
                                const UpdateFunction& on_update) {
  absl::Notification stopped;
  std::stop_callback on_stop(stop, [&] { stopped.Notify(); });
  const absl::Time begin = absl::Now();
  bool heard_ever = false;
  bool told_away = false;
  while (true) {
    grpc::ClientContext context;
    channel_.Prepare(&context, deadline - absl::Now());
    std::stop_callback cancel(stop, [&] { context.TryCancel(); });
    v1::WatchJobRequest request;
    request.set_job(job);
    request.set_after_seq(after_seq);
    const auto reader = stub_->WatchJob(&context, request);
    v1::WatchJobResponse response;
    while (reader->Read(&response)) {
      heard_ever = true;
      if (std::exchange(told_away, false)) {
        MG_LOG(WARNING) << "coordinator " << server_ << " is back";
      }
      after_seq = std::max(after_seq, response.seq());
      if (on_update(response)) continue;
      context.TryCancel();
      reader->Finish();
      return absl::OkStatus();
    }
    absl::Status status = FromGrpc(reader->Finish());
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    // Not by us: a coordinator that goes away cancels what it has not answered.
    if (absl::IsCancelled(status)) status = absl::UnavailableError("it cancelled the call");
    if (const std::optional<absl::Duration> wait = RetryDelayOf(status); wait.has_value()) {  // too many calls or watches
      if (!heard_ever && absl::Now() - begin > first_max_) return status;
      if (stopped.WaitForNotificationWithTimeout(*wait)) return absl::CancelledError("stopped");
      if (absl::Now() >= deadline) return absl::DeadlineExceededError("time is up");
      continue;
    }
    if (heard_ever && absl::IsOutOfRange(status)) {
      // The store failed over to a copy without the end of the log that we saw; what comes instead is new.
      const absl::StatusOr<v1::Job> found = GetJob(job);
      if (found.ok()) {
        after_seq = std::min(after_seq, found->seq());
        continue;
      }
      status = found.status();
    }
    if (!absl::IsUnavailable(status)) return status;
    // Nobody ever answered: a wrong address rather than a coordinator that restarts. One that answers this way does not
    // lead yet. The job of one that was heard comes back with it, be it a night later.
    const bool answers = channel_.channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
    if (!heard_ever && (!answers || absl::Now() - begin > first_max_)) {
      return absl::UnavailableError(absl::StrCat("coordinator ", server_, ": ", status.message()));
    }
    if (!std::exchange(told_away, true)) {
      MG_LOG(WARNING) << "coordinator " << server_ << " is away (" << status.message() << "); trying again";
    }
    if (stopped.WaitForNotificationWithTimeout(kRetryPause)) return absl::CancelledError("stopped");
    if (absl::Now() >= deadline) return absl::DeadlineExceededError("time is up");
    if (reconnect_ == nullptr) continue;
    if (absl::StatusOr<ClientChannel> leader = reconnect_(); leader.ok()) {
      channel_ = *std::move(leader);
      stub_ = v1::JobService::NewStub(channel_.channel);
    }
  }
}

}  // namespace merganser

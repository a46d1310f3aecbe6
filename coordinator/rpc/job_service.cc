#include "coordinator/rpc/job_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/codec/time_codec.h"
#include "coordinator/job/ranking.h"
#include "coordinator/rpc/checkpoint_share.h"
#include "coordinator/rpc/page.h"

namespace merganser {
namespace {

constexpr size_t kRequestIdMax = 64;  // characters; a UUID has 36

absl::StatusOr<JobUpdate> UpdateOf(const v1::UpdateJobRequest& request) {
  JobUpdate update;
  update.fields = {request.update_mask().paths().begin(), request.update_mask().paths().end()};
  if (request.has_stage()) update.stage = request.stage();
  const v1::JobSpec& spec = request.spec();
  MG_ASSIGN_OR_RETURN(update.values.budget, FromProto(spec.budget()));
  if (spec.has_max_attempts()) update.values.max_attempts = spec.max_attempts();
  if (spec.has_attempt_timeout()) update.values.attempt_timeout = FromProto(spec.attempt_timeout());
  update.values.priority = spec.priority();
  if (spec.has_share()) update.values.share = spec.share();
  return update;
}

}  // namespace

JobService::JobService(const ServiceContext* services, int watchers_max)
    : services_(services), watchers_(watchers_max, /*queue_max=*/0) {}

JobService::~JobService() { Shutdown(); }

void JobService::Shutdown() {
  std::vector<std::weak_ptr<WatchStream>> watches;
  {
    absl::MutexLock lock(&mu_);
    watches.swap(watches_);
  }
  for (const auto& watch : watches) {
    if (const auto stream = watch.lock()) stream->End(absl::UnavailableError("this coordinator is going away"));
  }
  watchers_.Stop();
}

absl::Status JobService::DoCreateJob(const v1::CreateJobRequest& request, const std::string& who,
                                     v1::CreateJobResponse* response) {
  if (request.request_id().size() > kRequestIdMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("request_id: ", request.request_id().size(), " characters, more than ", kRequestIdMax));
  }
  if (!request.has_spec()) return absl::InvalidArgumentError("spec: missing");
  MG_ASSIGN_OR_RETURN(JobSpec spec, FromProto(request.spec()));
  if (request.validate_only()) {
    MG_RETURN_IF_ERROR(Validate(spec));
    *response->mutable_job()->mutable_spec() = ToProto(spec);
    return absl::OkStatus();
  }
  MG_RETURN_IF_ERROR(Validate(spec));
  MG_RETURN_IF_ERROR(services_->share->Pin(&spec));
  MG_ASSIGN_OR_RETURN(const JobSummary job, services_->manager->CreateJob(request.request_id(), spec, who));
  MG_LOG(INFO) << "job submitted job=" << job.id << " name=" << job.spec.name;
  *response->mutable_job() = ToProto(job);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::CreateJob(grpc::CallbackServerContext* context, const v1::CreateJobRequest* request,
                                                v1::CreateJobResponse* response) {
  return RunUnary(*services_, context, *request, "CreateJob", Role::kSubmitter,
                  [this, request, response](const std::string& who) { return DoCreateJob(*request, who, response); });
}

grpc::ServerUnaryReactor* JobService::GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
                                             v1::GetJobResponse* response) {
  return RunUnary(*services_, context, *request, "GetJob", Role::kViewer, [this, request, response]() -> absl::Status {
    MG_ASSIGN_OR_RETURN(const JobSummary job, services_->manager->GetJob(request->job()));
    *response->mutable_job() = ToProto(job);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return RunUnary(*services_, context, *request, "ListJobs", Role::kViewer, [this, request, response]() -> absl::Status {
    MG_ASSIGN_OR_RETURN(const std::vector<JobSummary> jobs, services_->manager->ListJobs());
    MG_ASSIGN_OR_RETURN(Page page, MakePage(request->page_size(), request->page_token(), "jobs", jobs.size()));
    for (size_t i = page.begin; i < page.end; ++i) *response->add_jobs() = ToProto(jobs[i]);
    response->set_next_page_token(std::move(page.next_token));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext* context, const v1::CancelJobRequest* request,
                                                v1::CancelJobResponse* response) {
  return RunUnary(*services_, context, *request, "CancelJob", Role::kSubmitter,
                  [this, request, response](const std::string& who) -> absl::Status {
                    MG_ASSIGN_OR_RETURN(const JobSummary job, services_->manager->CancelJob(request->job(), who));
                    *response->mutable_job() = ToProto(job);
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* JobService::PauseJob(grpc::CallbackServerContext* context, const v1::PauseJobRequest* request,
                                               v1::PauseJobResponse* response) {
  return RunUnary(*services_, context, *request, "PauseJob", Role::kSubmitter,
                  [this, request, response](const std::string& who) -> absl::Status {
                    MG_ASSIGN_OR_RETURN(const JobSummary job, services_->manager->PauseJob(request->job(), who));
                    *response->mutable_job() = ToProto(job);
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* JobService::ResumeJob(grpc::CallbackServerContext* context, const v1::ResumeJobRequest* request,
                                                v1::ResumeJobResponse* response) {
  return RunUnary(*services_, context, *request, "ResumeJob", Role::kSubmitter,
                  [this, request, response](const std::string& who) -> absl::Status {
                    MG_ASSIGN_OR_RETURN(const JobSummary job, services_->manager->ResumeJob(request->job(), who));
                    *response->mutable_job() = ToProto(job);
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* JobService::UpdateJob(grpc::CallbackServerContext* context, const v1::UpdateJobRequest* request,
                                                v1::UpdateJobResponse* response) {
  return RunUnary(*services_, context, *request, "UpdateJob", Role::kSubmitter,
                  [this, request, response](const std::string& who) -> absl::Status {
                    MG_ASSIGN_OR_RETURN(const JobUpdate update, UpdateOf(*request));
                    MG_ASSIGN_OR_RETURN(const JobSummary job, services_->manager->UpdateJob(request->job(), update, who));
                    *response->mutable_job() = ToProto(job);
                    if (const auto binds = services_->manager->WhatBinds(job.id, update); binds.ok()) {
                      response->set_binding_budget(*binds);
                    }
                    return absl::OkStatus();
                  });
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobService::WatchJob(grpc::CallbackServerContext* context,
                                                                     const v1::WatchJobRequest* request) {
  const std::shared_ptr<WatchStream> stream = WatchStream::Start(services_, &watchers_, context, *request);
  absl::MutexLock lock(&mu_);
  watches_.erase(std::remove_if(watches_.begin(), watches_.end(), [](const auto& watch) { return watch.expired(); }),
                 watches_.end());
  watches_.push_back(stream);
  return stream.get();  // alive: it holds itself until gRPC is done with it
}

grpc::ServerUnaryReactor* JobService::GetCandidate(grpc::CallbackServerContext* context,
                                                   const v1::GetCandidateRequest* request,
                                                   v1::GetCandidateResponse* response) {
  return RunUnary(*services_, context, *request, "GetCandidate", Role::kViewer, [this, request, response]() -> absl::Status {
    MG_ASSIGN_OR_RETURN(const Candidate candidate, services_->manager->GetCandidate(request->job(), request->candidate()));
    *response->mutable_candidate() = ToProto(candidate);
    if (candidate.state == CandidateState::kQueued) {
      MG_ASSIGN_OR_RETURN(*response->mutable_waiting(),
                          services_->manager->WhyCandidateWaits(request->job(), request->candidate()));
    }
    if (!request->with_record() || candidate.record_key.empty()) return absl::OkStatus();
    MG_ASSIGN_OR_RETURN(const std::string record, services_->records->GetRecord(candidate.record_key));
    if (!response->mutable_record()->ParseFromString(record)) {
      return absl::DataLossError(absl::StrCat("record '", candidate.record_key, "' is damaged"));
    }
    return absl::OkStatus();
  });
}

absl::Status JobService::DoListCandidates(const v1::ListCandidatesRequest& request, v1::ListCandidatesResponse* response) {
  std::optional<CandidateKind> kind;
  std::optional<CandidateState> state;
  if (!request.kind().empty()) {
    MG_ASSIGN_OR_RETURN(kind, ParseCandidateKind(request.kind()));
  }
  if (!request.state().empty()) {
    MG_ASSIGN_OR_RETURN(state, ParseCandidateState(request.state()));
  }
  const bool by_fitness = request.order_by() == "fitness";
  if (!by_fitness && !request.order_by().empty() && request.order_by() != "number") {
    return absl::InvalidArgumentError(
        absl::StrCat("order_by: '", request.order_by(), "' is neither \"number\" nor \"fitness\""));
  }
  const std::string list = absl::StrCat("candidates ", request.job(), " ", request.kind(), " ", request.state(), " ",
                                        by_fitness ? "fitness" : "number");
  struct Found {
    Page page;
    std::vector<Candidate> candidates;
  };
  auto found = std::make_shared<Found>();
  JobSpec spec;
  if (by_fitness) {
    MG_ASSIGN_OR_RETURN(JobSummary job, services_->manager->GetJob(request.job()));
    spec = std::move(job.spec);
  }
  const auto look = [=, size = request.page_size(), token = request.page_token()](
                        const std::vector<Candidate>& all, const std::function<Candidate(int64_t)>& whole) -> absl::Status {
    std::vector<const Candidate*> candidates;
    for (const Candidate& c : all) {
      if ((!kind.has_value() || c.kind == *kind) && (!state.has_value() || c.state == *state)) candidates.push_back(&c);
    }
    if (by_fitness) {
      std::stable_sort(candidates.begin(), candidates.end(),
                       [&](const Candidate* a, const Candidate* b) { return FitnessBefore(spec, all, *a, *b); });
    }
    MG_ASSIGN_OR_RETURN(found->page, MakePage(size, token, list, candidates.size()));
    for (size_t i = found->page.begin; i < found->page.end; ++i) found->candidates.push_back(whole(candidates[i]->number));
    return absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(services_->manager->LookAtCandidates(request.job(), look));
  for (const Candidate& candidate : found->candidates) *response->add_candidates() = ToProto(candidate);
  response->set_next_page_token(std::move(found->page.next_token));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::ListCandidates(grpc::CallbackServerContext* context,
                                                     const v1::ListCandidatesRequest* request,
                                                     v1::ListCandidatesResponse* response) {
  return RunUnary(*services_, context, *request, "ListCandidates", Role::kViewer,
                  [this, request, response] { return DoListCandidates(*request, response); });
}

}  // namespace merganser

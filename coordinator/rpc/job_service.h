// JobService over a JobManager.
#ifndef MERGANSER_COORDINATOR_RPC_JOB_SERVICE_H_
#define MERGANSER_COORDINATOR_RPC_JOB_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/rpc/service_context.h"
#include "coordinator/rpc/watch_stream.h"
#include "merganser/v1/job_service.grpc.pb.h"

namespace merganser {

// Thread-safe. Roles: viewer for reads, submitter for what makes or changes a job.
class JobService final : public v1::JobService::CallbackService {
 public:
  // `services` outlives it. `watchers_max`: WatchJob calls at once, a thread each.
  JobService(const ServiceContext* services, int watchers_max);
  ~JobService() override;

  // Ends every watch with Unavailable and waits for their threads. Further ones are refused.
  void Shutdown();

  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext* context, const v1::CreateJobRequest* request,
                                      v1::CreateJobResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
                                   v1::GetJobResponse* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context, const v1::CancelJobRequest* request,
                                      v1::CancelJobResponse* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context, const v1::PauseJobRequest* request,
                                     v1::PauseJobResponse* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context, const v1::ResumeJobRequest* request,
                                      v1::ResumeJobResponse* response) override;
  grpc::ServerUnaryReactor* UpdateJob(grpc::CallbackServerContext* context, const v1::UpdateJobRequest* request,
                                      v1::UpdateJobResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(grpc::CallbackServerContext* context,
                                                           const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* GetCandidate(grpc::CallbackServerContext* context, const v1::GetCandidateRequest* request,
                                         v1::GetCandidateResponse* response) override;
  grpc::ServerUnaryReactor* ListCandidates(grpc::CallbackServerContext* context, const v1::ListCandidatesRequest* request,
                                           v1::ListCandidatesResponse* response) override;

 private:
  absl::Status DoCreateJob(const v1::CreateJobRequest& request, const std::string& who, v1::CreateJobResponse* response);
  absl::Status DoListCandidates(const v1::ListCandidatesRequest& request, v1::ListCandidatesResponse* response);

  const ServiceContext* const services_;
  CallPool watchers_;

  absl::Mutex mu_;
  std::vector<std::weak_ptr<WatchStream>> watches_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_JOB_SERVICE_H_

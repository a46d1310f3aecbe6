// The services over real gRPC on loopback: a job from CreateJob to its last event, with a real
// worker session and a fake evaluator.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <memory>

#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_codec.h"
#include "coordinator/rpc/page.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/fleet_service.grpc.pb.h"
#include "merganser/v1/job_service.grpc.pb.h"
#include "tests/coordinator/job/world.h"
#include "tests/coordinator/rpc/served_coordinator.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CountingObserver final : public RpcObserver {
 public:
  void OnCall(absl::string_view method, absl::StatusCode code, absl::Duration) override {
    absl::MutexLock lock(&mu_);
    ++calls_[absl::StrCat(method, " ", absl::StatusCodeToString(code))];
  }
  int Calls(const std::string& what) {
    absl::MutexLock lock(&mu_);
    return calls_[what];
  }

 private:
  absl::Mutex mu_;
  std::map<std::string, int> calls_;
};

class ServiceTest : public ServedCoordinator {
 protected:
  void SetUp() override {
    JobManagerOptions options;
    options.reattach_window = absl::ZeroDuration();
    options.heartbeat_interval = absl::Milliseconds(100);
    ServerOptions server;
    server.store_uri = "memory:";
    ASSERT_NO_FATAL_FAILURE(Serve(options, server, &observer_));
    server_->SetServing(true);
    channel_ = *CreateChannel(Users());
    jobs_ = v1::JobService::NewStub(channel_.channel);
    fleet_ = v1::FleetService::NewStub(channel_.channel);
  }

  absl::Status Create(const JobSpec& spec, const std::string& request_id, v1::Job* job) {
    grpc::ClientContext context;
    channel_.Prepare(&context, kPatience);
    v1::CreateJobRequest request;
    *request.mutable_spec() = ToProto(spec);
    request.set_request_id(request_id);
    v1::CreateJobResponse response;
    const absl::Status status = FromGrpc(jobs_->CreateJob(&context, request, &response));
    *job = response.job();
    return status;
  }

  // Every update until the stream's end.
  absl::Status Watch(const std::string& job, int64_t after_seq, std::vector<v1::WatchJobResponse>* updates) {
    grpc::ClientContext context;
    channel_.Prepare(&context, kPatience);
    v1::WatchJobRequest request;
    request.set_job(job);
    request.set_after_seq(after_seq);
    const auto reader = jobs_->WatchJob(&context, request);
    for (v1::WatchJobResponse update; reader->Read(&update);) updates->push_back(update);
    return FromGrpc(reader->Finish());
  }

  CountingObserver observer_;
  ClientChannel channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::FleetService::Stub> fleet_;
};

TEST_F(ServiceTest, AJobRunsToItsEndOverGrpcAndTheWatchSeesEveryEventOnce) {
  StartWorker();
  v1::Job job;
  ASSERT_TRUE(Create(SphereSpec(), "", &job).ok());
  std::vector<v1::WatchJobResponse> updates;
  const absl::Status watched = Watch(job.id(), 0, &updates);
  ASSERT_TRUE(watched.ok()) << watched;
  int64_t expected = 0;
  for (const v1::WatchJobResponse& update : updates) {
    if (update.seq() > 0) EXPECT_EQ(update.seq(), ++expected);
  }
  EXPECT_EQ(updates.back().job().state(), "succeeded") << updates.back().job().message();
  EXPECT_EQ(updates.back().job().seq(), expected);

  std::vector<v1::WatchJobResponse> tail;
  ASSERT_TRUE(Watch(job.id(), expected - 2, &tail).ok());
  EXPECT_TRUE(absl::IsOutOfRange(Watch(job.id(), 1'000'000, &tail)));
  int events = 0;
  for (const v1::WatchJobResponse& update : tail) events += update.seq() > 0 ? 1 : 0;
  EXPECT_EQ(events, 2) << "a watch resumes after the number that it names";
}

TEST_F(ServiceTest, ThisMachineIsReachedWithoutTheEnvironmentsProxy) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  const ClientChannel channel = *CreateChannel(Users());
  unsetenv("http_proxy");
  grpc::ClientContext context;
  channel.Prepare(&context, kPatience);
  v1::ListJobsResponse response;
  const absl::Status listed = FromGrpc(v1::JobService::NewStub(channel.channel)->ListJobs(&context, {}, &response));
  EXPECT_EQ(listed, absl::OkStatus());
}

TEST_F(ServiceTest, TheSameRequestIdMakesOneJob) {
  v1::Job first, again, other;
  ASSERT_TRUE(Create(SphereSpec(), "request-1", &first).ok());
  ASSERT_TRUE(Create(SphereSpec(), "request-1", &again).ok());
  ASSERT_TRUE(Create(SphereSpec(), "request-2", &other).ok());
  EXPECT_EQ(first.id(), again.id());
  EXPECT_NE(first.id(), other.id());
}

TEST_F(ServiceTest, AQueuedCandidateSaysWhyItWaits) {
  v1::Job job;
  ASSERT_TRUE(Create(SphereSpec(), "", &job).ok());
  grpc::ClientContext context;
  v1::GetCandidateRequest request;
  request.set_job(job.id());
  v1::GetCandidateResponse response;
  ASSERT_TRUE(jobs_->GetCandidate(&context, request, &response).ok());
  EXPECT_EQ(response.candidate().state(), "queued");
  EXPECT_EQ(response.waiting(), "no worker is connected");
}

TEST_F(ServiceTest, AnInvalidSpecIsRefusedByItsField) {
  JobSpec spec = SphereSpec();
  spec.parameter.bounds.begin()->second = {2, 0};
  v1::Job job;
  const absl::Status status = Create(spec, "", &job);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("space.parameter.bounds"));
  EXPECT_EQ(observer_.Calls("CreateJob INVALID_ARGUMENT"), 1);
}

TEST_F(ServiceTest, ListsComeInPagesThatNameTheirRequest) {
  v1::Job job;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Create(SphereSpec(absl::StrCat("job", i)), "", &job).ok());
  v1::ListJobsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    v1::ListJobsResponse response;
    ASSERT_TRUE(jobs_->ListJobs(&context, request, &response).ok());
    EXPECT_LE(response.jobs_size(), 2);
    for (const v1::Job& j : response.jobs()) names.push_back(j.spec().name());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, (std::vector<std::string>{"job0", "job1", "job2", "job3", "job4"}));
}

TEST_F(ServiceTest, AJobIsPausedUpdatedAndResumed) {
  v1::Job job;
  ASSERT_TRUE(Create(SphereSpec(), "", &job).ok());
  const auto call = [&](auto method, auto request, auto response) {
    grpc::ClientContext context;
    channel_.Prepare(&context, kPatience);
    request.set_job("sphere");
    const absl::Status status = FromGrpc((jobs_.get()->*method)(&context, request, &response));
    job = response.job();
    return status;
  };
  using Stub = v1::JobService::Stub;
  ASSERT_TRUE(call(&Stub::PauseJob, v1::PauseJobRequest(), v1::PauseJobResponse()).ok());
  EXPECT_TRUE(job.paused());
  v1::UpdateJobRequest update;
  update.mutable_spec()->mutable_budget()->set_candidates(20);
  update.mutable_spec()->set_priority(4);
  update.mutable_update_mask()->add_paths("budget.candidates");
  ASSERT_TRUE(call(&Stub::UpdateJob, update, v1::UpdateJobResponse()).ok());
  EXPECT_EQ(job.spec().budget().candidates(), 20);
  EXPECT_EQ(job.spec().priority(), 0) << "it is not in the mask";
  update.mutable_update_mask()->add_paths("models");
  EXPECT_EQ(call(&Stub::UpdateJob, update, v1::UpdateJobResponse()).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(call(&Stub::ResumeJob, v1::ResumeJobRequest(), v1::ResumeJobResponse()).ok());
  EXPECT_FALSE(job.paused());
  StartWorker();
  std::vector<v1::WatchJobResponse> updates;
  ASSERT_TRUE(Watch("sphere", 0, &updates).ok());
  EXPECT_EQ(updates.back().job().search_finished(), 20);
  EXPECT_EQ(call(&Stub::PauseJob, v1::PauseJobRequest(), v1::PauseJobResponse()).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServiceTest, AWorkerIsQuarantinedAndReleased) {
  StartWorker();
  const auto state = [&] {
    grpc::ClientContext context;
    channel_.Prepare(&context, kPatience);
    v1::ListWorkersResponse response;
    EXPECT_TRUE(fleet_->ListWorkers(&context, v1::ListWorkersRequest(), &response).ok());
    return response.workers_size() == 1 ? response.workers(0) : v1::Worker();
  };
  while (state().state() != "idle") absl::SleepFor(absl::Milliseconds(10));
  {
    grpc::ClientContext context;
    channel_.Prepare(&context, kPatience);
    v1::QuarantineWorkerRequest request;
    request.set_worker("worker-1");
    request.set_reason("its fan");
    v1::QuarantineWorkerResponse response;
    ASSERT_TRUE(fleet_->QuarantineWorker(&context, request, &response).ok());
  }
  EXPECT_EQ(state().state(), "quarantined");
  EXPECT_EQ(state().quarantine(), "its fan");
  EXPECT_FALSE(state().has_quarantine_end_time()) << "until it is released";
  grpc::ClientContext context;
  channel_.Prepare(&context, kPatience);
  v1::ReleaseWorkerRequest request;
  request.set_worker("worker-1");
  v1::ReleaseWorkerResponse response;
  ASSERT_TRUE(fleet_->ReleaseWorker(&context, request, &response).ok());
  EXPECT_EQ(state().state(), "idle");
}

TEST_F(ServiceTest, CancelEndsAJobAndNamesAreFound) {
  v1::Job job;
  ASSERT_TRUE(Create(SphereSpec("named"), "", &job).ok());
  v1::CancelJobRequest request;
  request.set_job("named");
  grpc::ClientContext context;
  v1::CancelJobResponse response;
  ASSERT_TRUE(jobs_->CancelJob(&context, request, &response).ok());
  EXPECT_EQ(response.job().id(), job.id());
  EXPECT_EQ(response.job().state(), "cancelled");
  std::vector<v1::WatchJobResponse> updates;
  EXPECT_TRUE(Watch(job.id(), 0, &updates).ok());
}

TEST_F(ServiceTest, WhatIsNotThereIsNotFound) {
  v1::GetJobRequest request;
  request.set_job("job-99");
  grpc::ClientContext context;
  v1::GetJobResponse response;
  EXPECT_EQ(jobs_->GetJob(&context, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  std::vector<v1::WatchJobResponse> updates;
  EXPECT_TRUE(absl::IsNotFound(Watch("job-99", 0, &updates)));
}

TEST_F(ServiceTest, WorkersAreListedAndDrained) {
  StartWorker();
  v1::Job job;
  ASSERT_TRUE(Create(SphereSpec(), "", &job).ok());
  std::vector<v1::WatchJobResponse> updates;
  ASSERT_TRUE(Watch(job.id(), 0, &updates).ok());
  v1::ListWorkersResponse workers;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(fleet_->ListWorkers(&context, {}, &workers).ok());
  }
  ASSERT_EQ(workers.workers_size(), 1);
  EXPECT_EQ(workers.workers(0).name(), "first");
  EXPECT_GT(workers.workers(0).finished(), 0);
  v1::DrainWorkerRequest drain;
  drain.set_worker("worker-1");
  v1::DrainWorkerResponse drained;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(fleet_->DrainWorker(&context, drain, &drained).ok());
  }
  drain.set_worker("nobody");
  grpc::ClientContext context;
  EXPECT_EQ(fleet_->DrainWorker(&context, drain, &drained).error_code(), grpc::StatusCode::NOT_FOUND);
}

// The system's gRPC ships no generated code for its own health and reflection services, so these two speak bytes.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) : stub_(channel) {
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(nullptr);
    Next();
  }
  // The answer's bytes; "" if there is none.
  std::string Exchange(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    call_->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    Next();
    grpc::ByteBuffer answer;
    call_->Read(&answer, nullptr);
    if (!Next()) return "";
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(answer.Dump(&slices).ok());
    std::string text;
    for (const grpc::Slice& s : slices) text.append(reinterpret_cast<const char*>(s.begin()), s.size());
    return text;
  }
  ~RawCall() {
    call_->WritesDone(nullptr);
    Next();
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Next();
  }

 private:
  bool Next() {
    void* tag;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

TEST_F(ServiceTest, HealthFollowsTheServer) {
  // HealthCheckResponse {status = 1}: SERVING 1, NOT_SERVING 2.
  EXPECT_EQ(RawCall(channel_.channel, "/grpc.health.v1.Health/Check").Exchange(""), std::string("\x08\x01"));
  server_->SetServing(false);
  EXPECT_EQ(RawCall(channel_.channel, "/grpc.health.v1.Health/Check").Exchange(""), std::string("\x08\x02"));
}

TEST_F(ServiceTest, ReflectionListsTheServicesOnLoopback) {
  // ServerReflectionRequest {list_services = ""} (field 7).
  const std::string services = RawCall(channel_.channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
                                   .Exchange(std::string("\x3a\x00", 2));
  EXPECT_THAT(services, HasSubstr("merganser.v1.JobService"));
  EXPECT_THAT(services, HasSubstr("merganser.v1.FleetService"));
}

TEST_F(ServiceTest, ShutdownEndsAWatchInsteadOfWaitingForIt) {
  v1::Job job;
  ASSERT_TRUE(Create(SphereSpec(), "", &job).ok());  // no worker: it never ends by itself
  absl::Status status;
  std::thread watcher([&] {
    std::vector<v1::WatchJobResponse> updates;
    status = Watch(job.id(), 0, &updates);
  });
  manager_->Stop();
  server_->Shutdown(absl::ZeroDuration());
  watcher.join();
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsCancelled(status)) << status;
}

TEST(ServerStartTest, PlaintextBeyondLoopbackIsRefused) {
  MemoryStore store(Clock::Real());
  const auto manager = JobManager::Create(&store, &ProtoJobCodec(), &Clock::Real(), nullptr, {});
  ServerOptions options;
  options.listen = "0.0.0.0:0";
  options.worker_listen = "127.0.0.1:0";
  const auto server = Server::Start(manager.get(), &store, nullptr, options);
  EXPECT_TRUE(absl::IsInvalidArgument(server.status())) << server.status();
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("--tls"));
}

TEST(MakePageTest, CutsAndContinues) {
  const auto first = MakePage(2, "", "list", 5);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->begin, 0u);
  EXPECT_EQ(first->end, 2u);
  const auto second = MakePage(2, first->next_token, "list", 5);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->begin, 2u);
  const auto last = MakePage(10, second->next_token, "list", 5);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->end, 5u);
  EXPECT_THAT(last->next_token, IsEmpty());
}

TEST(MakePageTest, RefusesWhatIsNotItsOwn) {
  const std::string token = MakePage(2, "", "list", 5)->next_token;
  EXPECT_TRUE(absl::IsInvalidArgument(MakePage(-1, "", "list", 5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MakePage(2, token, "another list", 5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MakePage(2, "garbage", "list", 5).status()));
}

}  // namespace
}  // namespace merganser

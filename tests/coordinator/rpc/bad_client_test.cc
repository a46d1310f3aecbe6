// Clients that break the rules, or keep them in the worst way: the coordinator refuses or bounds each, and a job of somebody
// else goes on meanwhile.
#include <arpa/inet.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/rng.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/fleet_service.grpc.pb.h"
#include "merganser/v1/job_service.grpc.pb.h"
#include "merganser/v1/worker_service.grpc.pb.h"
#include "tests/coordinator/job/world.h"
#include "tests/coordinator/rpc/served_coordinator.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing_support::Eventually;

int64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  int64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

class BadClientTest : public ServedCoordinator {
 protected:
  void SetUp() override {
    JobManagerOptions options;
    options.heartbeat_interval = absl::Milliseconds(100);
    options.lease = absl::Seconds(1);
    ServerOptions server;
    server.watchers_max = 8;
    ASSERT_NO_FATAL_FAILURE(Serve(options, server));
  }
  // Somebody else's job, from its submission to its end.
  void ExpectAJobRuns(const std::string& name) {
    if (session_ == nullptr) StartWorker();
    const auto job = manager_->CreateJob("", SphereSpec(name), "");
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_TRUE(Eventually([&] { return manager_->GetJob(job->id)->phase == JobPhase::kSucceeded; }));
  }
};

// A call, unary or streaming, whose one message is any bytes; how it ends.
grpc::Status CallWithBytes(const ClientChannel& channel, const std::string& method, const std::string& bytes) {
  grpc::GenericStub stub(channel.channel);
  grpc::ClientContext context;
  channel.Prepare(&context, absl::Minutes(1));
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  next();
  const grpc::Slice slice(bytes);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  next();
  call->WritesDone(nullptr);
  next();
  grpc::ByteBuffer response;
  do {
    call->Read(&response, nullptr);
  } while (next());
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  return status;
}

std::vector<std::string> Methods(const google::protobuf::ServiceDescriptor* service) {
  std::vector<std::string> methods;
  for (int i = 0; i < service->method_count(); ++i) {
    methods.push_back(absl::StrCat("/", service->full_name(), "/", service->method(i)->name()));
  }
  return methods;
}

TEST_F(BadClientTest, RequestsOfAnyBytesAreAnswered) {
  const ClientChannel users = *CreateChannel(Users()), workers = *CreateChannel(Workers());
  v1::CreateJobRequest create;
  *create.mutable_spec() = ToProto(SphereSpec());
  v1::ReportAttemptRequest report;
  report.set_job_id("job-1");
  report.set_token(std::string(32, 'a'));
  report.mutable_record()->set_key("result:{job-1}:0:1:t");
  v1::SessionRequest session;
  session.mutable_hello()->set_worker_id("w");
  session.mutable_hello()->set_slots(1);
  const std::vector<std::string> seeds = {"", create.SerializeAsString(), report.SerializeAsString(),
                                          session.SerializeAsString()};
  Rng rng(7, 1);
  std::vector<std::pair<ClientChannel, std::string>> methods;
  for (const auto* service : {v1::JobService::service_full_name(), v1::FleetService::service_full_name()}) {
    const auto* const descriptor = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service);
    for (const std::string& method : Methods(descriptor)) methods.emplace_back(users, method);
  }
  const auto* const descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(v1::WorkerService::service_full_name());
  for (const std::string& method : Methods(descriptor)) methods.emplace_back(workers, method);
  ASSERT_GE(methods.size(), 10u);
  for (const auto& [channel, method] : methods) {
    for (int i = 0; i < 40; ++i) {
      std::string bytes = seeds[rng.NextU64() % seeds.size()];
      if (bytes.empty()) bytes.resize(rng.NextU64() % 200);
      for (uint64_t edits = rng.NextU64() % 8; edits > 0 && !bytes.empty(); --edits) {
        bytes[rng.NextU64() % bytes.size()] = static_cast<char>(rng.NextU64());
      }
      if (i % 5 == 0) bytes.resize(bytes.size() / 2);
      const grpc::Status status = CallWithBytes(channel, method, bytes);
      EXPECT_NE(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << method;
    }
  }
  // Whatever of it was a job, is over before another's.
  const std::vector<JobSummary> jobs = *manager_->ListJobs();
  for (const JobSummary& job : jobs) (void)manager_->CancelJob(job.id, "");
  ExpectAJobRuns("after-the-fuzz");
}

TEST_F(BadClientTest, MessagesBeyondTheBoundAreRefused) {
  const ClientChannel users = *CreateChannel(Users()), workers = *CreateChannel(Workers());
  EXPECT_EQ(CallWithBytes(users, "/merganser.v1.JobService/CreateJob", std::string(5 << 20, '\x0a')).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(CallWithBytes(workers, "/merganser.v1.WorkerService/ReportAttempt", std::string(17 << 20, '\x0a')).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  v1::ReportAttemptRequest report;
  report.mutable_failure()->set_failure("transient");
  report.mutable_failure()->set_message(std::string(1 << 20, 'x'));
  const grpc::Status status =
      CallWithBytes(workers, "/merganser.v1.WorkerService/ReportAttempt", report.SerializeAsString());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("failure.message"));
  report.mutable_failure()->set_message("it broke");
  report.set_job_id(std::string(1 << 20, 'j'));
  EXPECT_THAT(
      CallWithBytes(workers, "/merganser.v1.WorkerService/ReportAttempt", report.SerializeAsString()).error_message(),
      HasSubstr("the report has"));
  ExpectAJobRuns("after-large-messages");
}

// An answer that repeats all that was asked would not fit a call's trailers.
TEST_F(BadClientTest, WhatAnErrorRepeatsOfARequestIsCut) {
  const ClientChannel users = *CreateChannel(Users());
  v1::GetJobRequest request;
  request.set_job(std::string(3 << 20, 'j'));
  const grpc::Status status = CallWithBytes(users, "/merganser.v1.JobService/GetJob", request.SerializeAsString());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), AllOf(StartsWith("no job 'jjj"), EndsWith(" bytes more)")));
  EXPECT_LE(status.error_message().size(), kStatusMessageBytesMax);
}

TEST(CallPoolTest, WhatWaitsAndRunsHoldsSoManyBytesAtMost) {
  absl::Notification go;
  CallPool pool(/*threads_max=*/1, /*queue_max=*/10, /*bytes_max=*/100);
  ASSERT_TRUE(pool.Run([&] { go.WaitForNotification(); }, 60));
  EXPECT_FALSE(pool.Run([] {}, 50));
  EXPECT_TRUE(pool.Run([] {}, 40));
  EXPECT_FALSE(pool.Run([] {}, 1));
  EXPECT_TRUE(pool.Run([] {}));
  go.Notify();
  EXPECT_TRUE(Eventually([&] { return pool.Run([] {}, 100); })) << "what has run holds nothing";
}

// What the coordinator answers to a session's first message.
absl::Status SessionWith(const std::string& address, const v1::SessionRequest& first) {
  const ClientChannel channel = *CreateChannel(address);
  grpc::ClientContext context;
  channel.Prepare(&context, absl::Minutes(1));
  const auto stream = v1::WorkerService::NewStub(channel.channel)->Session(&context);
  stream->Write(first);
  for (v1::SessionResponse response; stream->Read(&response);) {
    if (response.has_welcome()) context.TryCancel();
  }
  return FromGrpc(stream->Finish());
}

TEST_F(BadClientTest, WhatIsKeptOfAWorkerIsBounded) {
  v1::SessionRequest request;
  request.mutable_hello()->set_slots(1);
  request.mutable_hello()->set_worker_id(std::string(1 << 20, 'w'));
  absl::Status status = SessionWith(Workers(), request);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("hello.worker_id"));
  request.mutable_hello()->set_worker_id("w");
  request.mutable_hello()->set_name(std::string(1 << 20, 'n'));
  EXPECT_THAT(SessionWith(Workers(), request).message(), HasSubstr("hello.name"));
  request.mutable_hello()->clear_name();
  for (int i = 0; i < 20'000; ++i) request.mutable_hello()->add_running()->set_job_id("job-1");
  EXPECT_THAT(SessionWith(Workers(), request).message(), HasSubstr("hello.running"));
  request.mutable_hello()->clear_running();
  request.mutable_hello()->add_running()->set_phase(std::string(1 << 20, 'p'));
  EXPECT_THAT(SessionWith(Workers(), request).message(), HasSubstr("hello.running.phase"));
  request.Clear();
  request.mutable_heartbeat();
  EXPECT_THAT(SessionWith(Workers(), request).message(), HasSubstr("hello"));
  EXPECT_TRUE(manager_->ListWorkers()->empty());
}

TEST_F(BadClientTest, AThousandConnectionsThatSayNothingCostLittle) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < 4096) GTEST_SKIP() << "only " << limit.rlim_max << " descriptors";
  limit.rlim_cur = std::max<rlim_t>(limit.rlim_cur, 4096);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  StartWorker();
  const int64_t before = ResidentBytes();
  std::vector<int> sockets;
  for (int i = 0; i < 1000; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(i % 2 == 0 ? server_->port() : server_->worker_port()));
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << i;
    if (i % 3 == 0) (void)!write(fd, "PRI * HTTP/2.0\r\n", 16);  // and no more
    if (i % 3 == 1) (void)!write(fd, std::string(100, '\xff').data(), 100);
    sockets.push_back(fd);
  }
  ExpectAJobRuns("beside-idle-connections");
  EXPECT_LT(ResidentBytes() - before, int64_t{200} << 20);
  for (const int fd : sockets) close(fd);
  ExpectAJobRuns("after-idle-connections");
}

TEST_F(BadClientTest, AWatchThatIsNotReadHoldsItsThreadAndNoMore) {
  StartWorker();
  const ClientChannel channel = *CreateChannel(Users());
  const auto stub = v1::JobService::NewStub(channel.channel);
  ExpectAJobRuns("watched");
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>>> readers;
  v1::WatchJobRequest request;
  request.set_job("watched");
  for (int i = 0; i < 8; ++i) {  // all that there are
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub->WatchJob(contexts.back().get(), request));
    readers.back()->WaitForInitialMetadata();
  }
  ExpectAJobRuns("beside-slow-readers");
  EXPECT_LT(ResidentBytes() - before, int64_t{100} << 20);
  for (size_t i = 0; i < readers.size(); ++i) {
    contexts[i]->TryCancel();
    for (v1::WatchJobResponse response; readers[i]->Read(&response);) {
    }
    (void)readers[i]->Finish();
  }
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    const auto reader = stub->WatchJob(&context, request);
    for (v1::WatchJobResponse response; reader->Read(&response);) {
    }
    return reader->Finish().ok();
  })) << "their threads are free again";
}

TEST_F(BadClientTest, AWorkerThatReadsNothingLosesItsCandidatesToAnother) {
  const ClientChannel channel = *CreateChannel(Workers());
  grpc::ClientContext context;
  const auto stream = v1::WorkerService::NewStub(channel.channel)->Session(&context);
  v1::SessionRequest hello;
  hello.mutable_hello()->set_worker_id("deaf");
  hello.mutable_hello()->set_slots(1);
  ASSERT_TRUE(stream->Write(hello));
  ASSERT_TRUE(Eventually([&] { return manager_->ListWorkers()->size() == 1; }));
  const auto job = manager_->CreateJob("", SphereSpec("beside-a-deaf-worker"), "");
  ASSERT_TRUE(job.ok());
  ASSERT_TRUE(Eventually([&] { return manager_->GetJob(job->id)->running > 0; })) << "the deaf one has it";
  StartWorker();
  EXPECT_TRUE(Eventually([&] { return manager_->GetJob(job->id)->phase == JobPhase::kSucceeded; }));
  context.TryCancel();
  (void)stream->Finish();
}

}  // namespace
}  // namespace merganser

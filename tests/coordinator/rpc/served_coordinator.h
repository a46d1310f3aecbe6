// A coordinator's services over real gRPC on loopback, and a worker with a session of its own.
#ifndef MERGANSER_TESTS_COORDINATOR_RPC_SERVED_COORDINATOR_H_
#define MERGANSER_TESTS_COORDINATOR_RPC_SERVED_COORDINATOR_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/codec/job_codec.h"
#include "common/rpc/channel.h"
#include "common/store/memory/memory_store.h"
#include "coordinator/rpc/server.h"
#include "gtest/gtest.h"
#include "tests/worker/agent/fakes.h"
#include "worker/agent/agent.h"
#include "worker/agent/session_client.h"

namespace merganser {

class ServedCoordinator : public testing::Test {
 protected:
  // To be called once, in SetUp. Any free ports; `observer` may be null.
  void Serve(const JobManagerOptions& options, ServerOptions server, RpcObserver* observer = nullptr) {
    manager_ = JobManager::Create(&store_, &ProtoJobCodec(), &Clock::Real(), nullptr, options);
    ASSERT_TRUE(manager_->Start().ok());
    server.listen = server.worker_listen = "127.0.0.1:0";
    auto started = Server::Start(manager_.get(), &store_, observer, server);
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  void TearDown() override {
    StopWorker();
    manager_->Stop();
    server_->Shutdown(absl::ZeroDuration());
    server_.reset();  // before an observer that is the test's
  }
  std::string Users() const { return absl::StrCat("127.0.0.1:", server_->port()); }
  std::string Workers() const { return absl::StrCat("127.0.0.1:", server_->worker_port()); }

  void StartWorker() {
    session_ = std::make_unique<SessionClient>(*CreateChannel(Workers()), *CreateChannel(Workers()));
    AgentOptions options;
    options.info.id = "worker-1";
    options.info.name = "first";
    agent_ = std::make_unique<Agent>(&evaluator_, &store_, options, session_.get());
    session_->Start(agent_.get());
  }
  void StopWorker() {
    if (session_ != nullptr) session_->Stop();
    agent_.reset();
    session_.reset();
  }

  MemoryStore store_{Clock::Real()};
  FakeEvaluator evaluator_;
  std::unique_ptr<JobManager> manager_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<SessionClient> session_;
  std::unique_ptr<Agent> agent_;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_COORDINATOR_RPC_SERVED_COORDINATOR_H_

// A job that is followed at a coordinator which goes away.
#include "client/server_jobs.h"

#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/codec/job_spec_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"
#include "tests/coordinator/rpc/served_coordinator.h"

namespace merganser {
namespace {

class ServerJobsTest : public ServedCoordinator {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(Serve({}, {})); }

  // One that gives up at once where that is allowed.
  ServerJobs Client() { return {*CreateChannel(Users()), Users(), nullptr, absl::ZeroDuration()}; }
  std::string Submit() {
    v1::CreateJobRequest request;
    *request.mutable_spec() = ToProto(SphereSpec());
    return Client().CreateJob(request)->id();
  }
  void Leave() {
    port_ = server_->port();
    server_->Shutdown(absl::ZeroDuration());
    server_.reset();
  }
  void ComeBack() { ComeBackWith(manager_.get(), &store_); }
  void ComeBackWith(JobManager* manager, MemoryStore* store) {
    ServerOptions options;
    options.listen = absl::StrCat("127.0.0.1:", port_);
    options.worker_listen = "127.0.0.1:0";
    server_ = *Server::Start(manager, store, nullptr, options);
  }

  int port_ = 0;
};

TEST_F(ServerJobsTest, WhoHasHeardOfAJobFollowsItUntilTheCoordinatorIsBack) {
  const std::string job = Submit();
  ServerJobs jobs = Client();
  absl::Notification heard, left;
  absl::Status followed;
  std::thread follower([&] {
    followed = jobs.Follow(job, 0, absl::Now() + kPatience, {}, [&](const v1::WatchJobResponse&) {
      if (!heard.HasBeenNotified()) heard.Notify();
      return !left.HasBeenNotified();  // until it is heard of again
    });
  });
  heard.WaitForNotification();
  Leave();
  left.Notify();
  ComeBack();
  follower.join();
  EXPECT_EQ(followed, absl::OkStatus());
}

// As after a failover to a copy of the store that lags.
TEST_F(ServerJobsTest, ALogThatLostItsEndIsFollowedFromWhereItEnds) {
  const std::string job = Submit();
  ASSERT_TRUE(Client().PauseJob(job).ok());
  ServerJobs jobs = Client();
  const int64_t last = jobs.GetJob(job)->seq();
  MemoryStore older;
  const auto other = JobManager::Create(&older, &ProtoJobCodec(), &Clock::Real(), nullptr, {});
  ASSERT_TRUE(other->Start().ok());
  bool lost = false;
  const auto on_update = [&](const v1::WatchJobResponse& update) {
    if (update.seq() != last) return !lost;
    Leave();
    ComeBackWith(other.get(), &older);
    EXPECT_EQ(Submit(), job);
    lost = true;
    return true;
  };
  EXPECT_EQ(jobs.Follow(job, 0, absl::Now() + kPatience, {}, on_update), absl::OkStatus());
  EXPECT_LT(jobs.GetJob(job)->seq(), last);
  other->Stop();
}

TEST_F(ServerJobsTest, OrUntilItsTimeIsUp) {
  const std::string job = Submit();
  ServerJobs jobs = Client();
  bool left = false;
  const absl::Status followed = jobs.Follow(job, 0, absl::Now() + absl::Seconds(3), {}, [&](const v1::WatchJobResponse&) {
    if (!std::exchange(left, true)) Leave();
    return true;
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(followed)) << followed;
  ComeBack();
}

TEST(WithAdviceTest, ACallThatACoordinatorCancelsAsItLeavesIsOneThatItDidNotAnswer) {
  const absl::Status status = WithAdvice(absl::CancelledError("CANCELLED"), "host:50051");
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.message(), testing::HasSubstr("coordinator host:50051: it went away before it answered"));
}

TEST_F(ServerJobsTest, OneThatDoesNotLeadIsNotWaitedForLonger) {
  const std::string job = Submit();
  manager_->Stop();
  const absl::Status followed =
      Client().Follow(job, 0, absl::InfiniteFuture(), {}, [](const v1::WatchJobResponse&) { return true; });
  EXPECT_TRUE(absl::IsUnavailable(followed)) << followed;
}

}  // namespace
}  // namespace merganser

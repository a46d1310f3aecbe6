// The thread around the job loop.
#include "coordinator/job/job_manager.h"

#include <atomic>
#include <deque>
#include <thread>

#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Evaluates on a thread of its own.
class ThreadWorker final : public WorkerLink {
 public:
  ThreadWorker(JobManager* manager, World* world, std::string id)
      : manager_(*manager), world_(*world), id_(std::move(id)), thread_([this] { Run(); }) {}
  ~ThreadWorker() override { Quit(); }
  // Ends the thread; the manager may still hold the link.
  void Quit() {
    {
      absl::MutexLock lock(&mu_);
      quit_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }
  void Assign(const Assignment& assignment) override {
    absl::MutexLock lock(&mu_);
    queue_.push_back(assignment);
  }
  void Cancel(const AttemptId&) override {}
  void Drain() override {}
  void Acknowledge(const std::vector<RunningAttempt>&) override {}
  void GoAway(absl::Duration) override { sent_away_ = true; }
  bool sent_away() const { return sent_away_; }

 private:
  void Run() {
    while (true) {
      Assignment assignment;
      {
        absl::MutexLock lock(&mu_);
        const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return quit_ || !queue_.empty(); };
        mu_.Await(absl::Condition(&ready));
        if (quit_) return;
        assignment = queue_.front();
        queue_.pop_front();
      }
      const std::string record = world_.Record(assignment);
      if (!world_.memory.PutRecord(assignment.record_key, record).ok()) continue;
      (void)manager_.ReportAttempt({.id = assignment.id,
                                    .token = assignment.token,
                                    .worker_id = id_,
                                    .record_key = assignment.record_key,
                                    .record_sha256 = Sha256Hex(record)});
    }
  }
  JobManager& manager_;
  World& world_;
  const std::string id_;
  std::atomic<bool> sent_away_{false};
  absl::Mutex mu_;
  std::deque<Assignment> queue_ ABSL_GUARDED_BY(mu_);
  bool quit_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

class CountingObserver final : public JobObserver {
 public:
  void OnEvent(const std::string&, const JobEvent&) override { ++events; }
  void OnReport(Disposition) override { ++reports; }
  void OnStoreCommit(absl::string_view, absl::Duration, const absl::Status&) override { ++commits; }
  void OnDispatched(absl::Duration) override { ++dispatched; }
  std::atomic<int> events{0}, reports{0}, commits{0}, dispatched{0};
};

class JobManagerTest : public ::testing::Test {
 protected:
  JobManagerTest() { world_.loop->Stop(); }
  std::unique_ptr<JobManager> Make(JobObserver* observer = nullptr) {
    return JobManager::Create(&world_.memory, &ProtoJobCodec(), &Clock::Real(), observer, {});
  }
  World world_;  // only its store and its records
};

TEST_F(JobManagerTest, WorkersAndWatchersOnManyThreadsSeeAJobThrough) {
  CountingObserver observer;
  auto manager = Make(&observer);
  ASSERT_TRUE(manager->Start().ok());
  EXPECT_TRUE(manager->leading());
  std::vector<std::shared_ptr<ThreadWorker>> workers;
  for (const char* id : {"w-1", "w-2", "w-3", "w-4"}) {
    workers.push_back(std::make_shared<ThreadWorker>(manager.get(), &world_, id));
    ASSERT_TRUE(manager->WorkerConnected({.id = id, .slots = 2}, {}, workers.back()).ok());
  }
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 120;
  const std::string id = manager->CreateJob("r-1", spec, "")->id;

  const auto watch = [&] {
    int64_t seq = 0;
    while (true) {
      const auto batch = manager->WaitForEvents(id, seq, absl::Minutes(2));
      ASSERT_TRUE(batch.ok()) << batch.status();
      ASSERT_FALSE(batch->events.empty() && !IsTerminal(batch->job.phase)) << "no event for two minutes";
      for (const auto& [event_seq, event] : batch->events) ASSERT_EQ(event_seq, ++seq);
      if (IsTerminal(batch->job.phase)) return;
    }
  };
  std::thread second(watch);
  watch();
  second.join();

  const JobSummary job = *manager->GetJob(id);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 120);
  EXPECT_EQ(observer.events, job.seq);
  EXPECT_EQ(observer.dispatched, 1 + 4 + 120 + 5);
  EXPECT_EQ(manager->ListWorkers()->size(), 4);
  for (auto& worker : workers) worker->Quit();
  manager->Stop();
  for (auto& worker : workers) EXPECT_TRUE(worker->sent_away());
}

TEST_F(JobManagerTest, NothingWorksBeforeStartAndAfterStop) {
  auto manager = Make();
  EXPECT_TRUE(absl::IsUnavailable(manager->ListJobs().status()));
  EXPECT_FALSE(manager->leading());
  ASSERT_TRUE(manager->Start().ok());
  EXPECT_TRUE(manager->Start().ok());
  EXPECT_THAT(*manager->ListJobs(), IsEmpty());
  manager->Stop();
  manager->Stop();
  EXPECT_FALSE(manager->leading());
  EXPECT_TRUE(absl::IsUnavailable(manager->ListJobs().status()));
  EXPECT_TRUE(absl::IsUnavailable(manager->Start()));
}

TEST_F(JobManagerTest, AStandbyLeadsWhenTheLeaderStops) {
  auto leader = Make();
  auto standby = Make();
  ASSERT_TRUE(leader->Start().ok());
  const std::string id = leader->CreateJob("", SphereSpec(), "")->id;
  const absl::Status refused = standby->Start();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_THAT(refused.message(), HasSubstr("coordinator"));  // the holder
  leader->Stop();
  ASSERT_TRUE(standby->Start().ok());
  EXPECT_EQ(standby->GetJob(id)->seq, 2);
  EXPECT_GT(standby->epoch(), leader->epoch());
}

TEST_F(JobManagerTest, AWatchEndsWithItsTimeoutAndWithStop) {
  auto manager = Make();
  ASSERT_TRUE(manager->Start().ok());
  const std::string id = manager->CreateJob("", SphereSpec(), "")->id;
  const auto batch = manager->WaitForEvents(id, 2, absl::Milliseconds(1));
  ASSERT_TRUE(batch.ok());
  EXPECT_THAT(batch->events, IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(manager->WaitForEvents("job-77", 0, absl::Hours(1)).status()));
  std::thread watcher([&] { EXPECT_TRUE(absl::IsUnavailable(manager->WaitForEvents(id, 2, absl::Hours(1)).status())); });
  manager->Stop();
  watcher.join();
}

}  // namespace
}  // namespace merganser

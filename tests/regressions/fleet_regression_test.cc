// Bugs of the job loop that the simulation found.
#include "common/base/sha256.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"
#include "tests/simulation/sim_store.h"

namespace merganser {
namespace {

// Seed 30: the append of an assignment stalled, the worker said meanwhile that it drains, and got
// the candidate when the store came back.
TEST(FleetRegressionTest, AnAssignmentThatStalledIsNotSentToAWorkerThatDrainsMeanwhile) {
  World world;
  const auto worker = world.AddWorker("w-1");
  bool away = false;
  world.store.fault = [&](absl::string_view operation) {
    return away && operation == "append" ? FaultyStore::Fault::kBefore : FaultyStore::Fault::kNone;
  };
  const std::string id = world.Submit(SphereSpec()).id;
  away = true;
  world.loop->Tick();
  world.loop->WorkerHeartbeat("w-1", {}, /*draining=*/true);

  away = false;
  world.clock.Advance(JobLog::kRetryMax);
  world.loop->Tick();

  EXPECT_TRUE(worker->held.empty());
  world.AddWorker("w-2");
  EXPECT_EQ(world.Run(id).phase, JobPhase::kSucceeded);
  EXPECT_EQ(CountedAttempts(world.Candidates(id)[0]), 0);
}

// Seed 132: the store failed over to a replica that lacked acknowledged events. The next append was
// out of range for ever, and the next leader's log lacked the results.
class FailoverTest : public testing::Test {
 protected:
  FailoverTest() {
    loop_ = std::make_unique<JobLoop>(&client_, &ProtoJobCodec(), &clock_, nullptr, JobManagerOptions());
    EXPECT_TRUE(loop_->Start().ok());
    id_ = loop_->CreateJob("", SphereSpec())->id;
    store_.Replicate();
    worker_ = std::make_shared<FakeWorker>("w-1");
    EXPECT_TRUE(loop_->WorkerConnected({.id = "w-1"}, {}, worker_).ok());
    loop_->Tick();
    const Assignment assignment = worker_->held.at(0);
    const std::string record = HonestRecord(assignment);
    EXPECT_TRUE(client_.PutRecord(assignment.record_key, record).ok());
    AttemptReport report{.id = assignment.id, .token = assignment.token, .worker_id = "w-1"};
    report.record_key = assignment.record_key;
    report.record_sha256 = Sha256Hex(record);
    EXPECT_EQ(*loop_->ReportAttempt(report), Disposition::kCommitted);
    worker_->Drop(assignment.id);
  }
  int64_t Stored() { return static_cast<int64_t>(store_.live().ReadEvents(id_, 0, 1000)->size()); }

  FakeClock clock_;
  SimStore store_{&clock_};
  SimStoreClient client_{&store_, {}};
  std::unique_ptr<JobLoop> loop_;
  std::shared_ptr<FakeWorker> worker_;
  std::string id_;
};

TEST_F(FailoverTest, TheNextAppendStoresWhatWasLostFirst) {
  const int64_t before = Stored();
  ASSERT_TRUE(store_.FailOver());
  ASSERT_LT(Stored(), before);

  loop_->Tick();  // the baselines are proposed

  EXPECT_GT(Stored(), before);
  JobLoop successor(&client_, &ProtoJobCodec(), &clock_, nullptr, JobManagerOptions());
  loop_->Stop();
  ASSERT_TRUE(successor.Start().ok());
  EXPECT_EQ(successor.GetCandidate(id_, 0)->state, CandidateState::kSucceeded);
}

TEST_F(FailoverTest, AnIdleLogIsMendedTooWithoutWaitingForAnAppend) {
  loop_->Tick();  // the baselines are proposed, and nobody is there to work on them
  loop_->WorkerDisconnected("w-1", worker_.get(), /*gone=*/true);
  loop_->Tick();
  const int64_t before = Stored();
  ASSERT_TRUE(store_.FailOver());
  ASSERT_LT(Stored(), before);

  clock_.Advance(JobLoop::kMendInterval);
  loop_->Tick();

  EXPECT_EQ(Stored(), before);
}

}  // namespace
}  // namespace merganser

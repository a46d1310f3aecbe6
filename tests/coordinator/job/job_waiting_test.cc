// Candidates that wait on a worker behind the one that it evaluates.
#include <vector>

#include "coordinator/job/job_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/job_loop_testing.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class JobWaitingTest : public JobLoopTest {
 protected:
  // Four baselines on two workers, each of which evaluates one and has the next one ahead.
  void SetUp() override {
    one_ = world_.AddWorker("one");
    First(*one_);
    (void)world_.Work(*one_);
    two_ = world_.AddWorker("two");
    world_.loop->Tick();
    ASSERT_THAT(one_->held, SizeIs(2));
    ASSERT_THAT(two_->held, SizeIs(2));
  }
  // In which each worker evaluates the first of what it holds.
  void Seconds(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      for (const auto& [id, worker] : world_.workers) {
        std::vector<RunningAttempt> running = worker->running();
        for (size_t k = 1; k < running.size(); ++k) running[k].phase = "queued";
        world_.loop->WorkerHeartbeat(id, running, worker->draining);
      }
      world_.loop->Tick();
    }
  }
  void EmptyTwo() {
    while (!two_->held.empty()) ASSERT_EQ(*world_.Work(*two_), Disposition::kCommitted);
  }
  std::shared_ptr<FakeWorker> one_, two_;
};

TEST_F(JobWaitingTest, GoesToAWorkerThatIsIdle) {
  const Assignment runs = one_->held[0], waits = one_->held[1];
  EmptyTwo();
  Seconds(2);
  ASSERT_THAT(two_->held, SizeIs(1));
  EXPECT_EQ(two_->held[0].id.candidate, waits.id.candidate);
  EXPECT_THAT(one_->cancelled, ElementsAre(waits.id));
  EXPECT_EQ(Get(waits.id.candidate).attempts[0].message, "it waited behind another one; two is idle");
  EXPECT_EQ(CountedAttempts(Get(waits.id.candidate)), 0);
  Seconds(20);
  ASSERT_THAT(one_->held, SizeIs(1)) << "what it evaluates stays";
  EXPECT_EQ(one_->held[0].token, runs.token);
  EXPECT_EQ(*world_.Work(*two_), Disposition::kCommitted);
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_F(JobWaitingTest, StaysWhereItIsWhileNoWorkerThatMayTakeItIsIdle) {
  Seconds(5);
  EXPECT_THAT(one_->held, SizeIs(2)) << "both have work";
  EmptyTwo();
  ASSERT_TRUE(world_.loop->DrainWorker("two").ok());
  Seconds(5);
  EXPECT_THAT(one_->held, SizeIs(2)) << "the other one drains";
}

TEST_F(JobWaitingTest, IsWhatCameLastWhileAWorkerHasNotSaidWhatItEvaluates) {
  const Assignment runs = one_->held[0], waits = one_->held[1];
  EmptyTwo();
  for (int i = 0; i < 3; ++i) {  // between two heartbeats
    world_.clock.Advance(absl::Seconds(1));
    world_.loop->Tick();
  }
  EXPECT_THAT(one_->cancelled, ElementsAre(waits.id));
  ASSERT_THAT(one_->held, SizeIs(1));
  EXPECT_EQ(one_->held[0].token, runs.token);
}

TEST_F(JobWaitingTest, StaysWhereItIsOnceItHasBegun) {
  EmptyTwo();
  Pass(5);  // it says that it evaluates both: the first one's result waits for a store that is away
  EXPECT_THAT(one_->held, SizeIs(2));
}

TEST_F(JobWaitingTest, OfAPausedJobStaysWhereItIs) {
  EmptyTwo();
  ASSERT_TRUE(world_.loop->PauseJob(job_).ok());
  Seconds(5);
  EXPECT_THAT(one_->held, SizeIs(2));
}

}  // namespace
}  // namespace merganser

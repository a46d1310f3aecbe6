// Who gets which candidate, and what becomes of attempts that fail or take too long.
#include <string>
#include <vector>

#include "coordinator/job/job_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class JobSchedulingTest : public ::testing::Test {
 protected:
  void Pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      for (auto& [id, worker] : world_.workers) world_.loop->WorkerHeartbeat(id, worker->running(), worker->draining);
      world_.loop->Tick();
    }
  }
  Candidate Get(int64_t number) { return *world_.loop->GetCandidate(job_, number); }
  std::shared_ptr<FakeWorker> AddWorker(WorkerInfo info) {
    auto worker = std::make_shared<FakeWorker>(info.id);
    world_.workers[info.id] = worker;
    EXPECT_TRUE(world_.loop->WorkerConnected(info, {}, worker).ok());
    return worker;
  }
  void Fail(FakeWorker& worker, FailureClass failure, const std::string& message) {
    world_.fail = [=](const Assignment&) { return World::Failure{failure, message}; };
    EXPECT_EQ(*world_.Work(worker), Disposition::kCommitted);
    world_.fail = [](const Assignment&) { return std::nullopt; };
    world_.loop->Tick();
  }
  // Works with all workers until a generation is being evaluated.
  void RunUntilSearch() {
    for (int i = 0; i < 100 && world_.Summary(job_).phase != JobPhase::kSearch; ++i) {
      world_.loop->Tick();
      for (auto& [id, worker] : world_.workers) (void)world_.Work(*worker);
    }
    world_.loop->Tick();
  }

  World world_;
  std::string job_;
};

// --- failure classes --------------------------------------------------------------------------

TEST_F(JobSchedulingTest, ACandidateThatTakesDownTwoEvaluatorsIsPoison) {
  auto a = world_.AddWorker("a");
  job_ = world_.Submit(SphereSpec()).id;
  world_.loop->Tick();
  auto b = world_.AddWorker("b");
  Fail(*a, FailureClass::kCrashed, "killed by signal 9");
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  ASSERT_THAT(b->held, SizeIs(1));
  Fail(*b, FailureClass::kCrashed, "killed by signal 11");
  EXPECT_EQ(Get(0).state, CandidateState::kFailed);
  EXPECT_EQ(Get(0).message, "poison: it took down the evaluators of two workers; the last: killed by signal 11");
}

TEST_F(JobSchedulingTest, CrashesOnOneWorkerUseUpTheAttemptsOnly) {
  auto a = world_.AddWorker("a");
  job_ = world_.Submit(SphereSpec()).id;
  world_.loop->Tick();
  Fail(*a, FailureClass::kCrashed, "killed by signal 9");
  Fail(*a, FailureClass::kCrashed, "killed by signal 9");
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  Fail(*a, FailureClass::kCrashed, "killed by signal 9");
  EXPECT_EQ(Get(0).message, "3 of 3 attempts failed; the last: crashed: killed by signal 9");
}

TEST_F(JobSchedulingTest, TheSameErrorOnTwoWorkersEndsACandidateAndOthersDoNot) {
  auto a = world_.AddWorker("a");
  job_ = world_.Submit(SphereSpec()).id;
  world_.loop->Tick();
  auto b = world_.AddWorker("b");
  Fail(*a, FailureClass::kTransient, "bug 7");
  Fail(*b, FailureClass::kTransient, "bug 8");
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  ASSERT_THAT(a->held, SizeIs(1));
  Fail(*a, FailureClass::kTransient, "bug 8");
  EXPECT_EQ(Get(0).message, "the same error on two workers: bug 8");
}

TEST_F(JobSchedulingTest, AFetchThatFailsIsTriedAgainAfterAWhileAndFiveTimesForFree) {
  auto a = world_.AddWorker("a");
  job_ = world_.Submit(SphereSpec()).id;
  world_.loop->Tick();
  int waited = 0;
  const auto wait_for_it = [&] {  // the others are scored meanwhile; the search waits for this baseline
    while (a->held.empty() || a->held[0].id.candidate != 1) {
      if (!a->held.empty()) {
        ASSERT_EQ(*world_.Work(*a), Disposition::kCommitted);
        world_.loop->Tick();
        continue;
      }
      ASSERT_LT(++waited, 200);
      Pass(1);
    }
  };
  for (int failure = 1; failure <= 7; ++failure) {
    wait_for_it();
    Fail(*a, FailureClass::kUnavailable, "hub: 503");
    if (failure == 3) {
      EXPECT_EQ(world_.Summary(job_).waiting, "candidate 1 is tried again in 4s: hub: 503");
    }
    EXPECT_EQ(CountedAttempts(Get(1)), std::max(0, failure - kFreeUnavailable)) << failure;
  }
  EXPECT_GE(waited, 1 + 2 + 4 + 8 + 16 + 32);
  wait_for_it();
  Fail(*a, FailureClass::kUnavailable, "hub: 503");
  EXPECT_EQ(Get(1).message, "3 of 3 attempts failed, besides 5 that did not count; the last: unavailable: hub: 503");
}

TEST_F(JobSchedulingTest, AJobWhoseModelsCannotBeFetchedFailsSoonAndSaysHowOftenItTried) {
  auto a = world_.AddWorker("a");
  job_ = world_.Submit(SphereSpec()).id;
  world_.loop->Tick();
  int waited = 0;
  for (int failure = 1; failure <= 5; ++failure) {
    for (; a->held.empty(); Pass(1)) ASSERT_LT(++waited, 60);
    ASSERT_EQ(a->held[0].kind, CandidateKind::kPrepare);
    Fail(*a, FailureClass::kUnavailable, "hub: no route");
  }
  EXPECT_GE(waited, 1 + 2 + 4 + 8);
  EXPECT_EQ(Get(0).message, "what the job needs could not be fetched in 5 attempts; the last: unavailable: hub: no route");
  Pass(1);
  EXPECT_EQ(world_.Summary(job_).phase, JobPhase::kFailed);
  EXPECT_THAT(world_.Summary(job_).message, HasSubstr("5 attempts; the last: unavailable: hub: no route"));
}

TEST_F(JobSchedulingTest, WhatRanOutOfMemoryGoesToAWorkerWithMore) {
  auto small = AddWorker({.id = "a-small", .memory_bytes = 8});
  job_ = world_.Submit(SphereSpec()).id;
  world_.loop->Tick();
  AddWorker({.id = "b-small", .memory_bytes = 8});
  auto large = AddWorker({.id = "z-large", .memory_bytes = 16});
  Fail(*small, FailureClass::kOutOfMemory, "out of memory");
  ASSERT_THAT(large->held, SizeIs(1));
  EXPECT_EQ(CountedAttempts(Get(0)), 1);
}

// --- bad workers ------------------------------------------------------------------------------

TEST_F(JobSchedulingTest, AWorkerThatFailsWhereOthersSucceedIsQuarantinedAndComesBack) {
  auto bad = world_.AddWorker("bad");
  auto good = world_.AddWorker("good");
  world_.fail = [&](const Assignment& a) -> std::optional<World::Failure> {
    const bool held = std::any_of(bad->held.begin(), bad->held.end(), [&](const Assignment& h) { return h.id == a.id; });
    if (!held || a.kind == CandidateKind::kPrepare) return std::nullopt;
    return World::Failure{FailureClass::kTransient, absl::StrCat("bit ", a.id.candidate, " flipped")};
  };
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 60;
  job_ = world_.Submit(spec).id;
  std::string state;
  for (int i = 0; i < 200 && state != "quarantined"; ++i) {
    world_.loop->Tick();
    for (auto& [id, worker] : world_.workers) (void)world_.Work(*worker);
    Pass(1);
    state = (*world_.loop->ListWorkers())[0].state;
  }
  ASSERT_EQ(state, "quarantined");
  EXPECT_THAT((*world_.loop->ListWorkers())[0].quarantine, HasSubstr("succeeded elsewhere"));
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  // On probation: the first failure after its release is enough, and the next quarantine lasts twice as long.
  Pass(601);
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "idle");
  job_ = world_.Submit(SphereSpec("next")).id;
  world_.Run(job_);
  const WorkerStatus again = (*world_.loop->ListWorkers())[0];
  ASSERT_EQ(again.state, "quarantined");
  EXPECT_GT(again.quarantine_end_time - world_.clock.Now(), absl::Minutes(10));
  ASSERT_TRUE(world_.loop->ReleaseWorker("bad").ok());
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "idle");
}

TEST_F(JobSchedulingTest, AJobWhoseCandidatesFailEverywhereQuarantinesNobody) {
  world_.AddWorker("a");
  world_.AddWorker("b");
  world_.fail = [](const Assignment& a) -> std::optional<World::Failure> {
    if (a.kind != CandidateKind::kSearch) return std::nullopt;
    return World::Failure{FailureClass::kInfeasible, "nan"};
  };
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 18;
  job_ = world_.Submit(spec).id;
  world_.Run(job_);
  const auto workers = world_.loop->ListWorkers();
  ASSERT_FALSE(workers->empty());
  for (const WorkerStatus& worker : *workers) EXPECT_EQ(worker.state, "idle");
}

// --- time -------------------------------------------------------------------------------------

TEST_F(JobSchedulingTest, AnAttemptThatEvaluatesTooLongIsStoppedAndTriedElsewhere) {
  auto a = world_.AddWorker("a");
  JobSpec spec = SphereSpec();
  spec.attempt_timeout = absl::Seconds(60);
  job_ = world_.Submit(spec).id;
  world_.loop->Tick();
  const AttemptId first = a->held.front().id;
  Pass(60);
  EXPECT_THAT(a->cancelled, IsEmpty());
  auto b = world_.AddWorker("b");
  Pass(3);
  EXPECT_THAT(a->cancelled, Contains(first));
  EXPECT_EQ(Get(0).attempts[0].failure, FailureClass::kTimedOut);
  EXPECT_THAT(Get(0).attempts[0].message, HasSubstr("more than 1m"));
  ASSERT_THAT(b->held, SizeIs(1));
  EXPECT_EQ(CountedAttempts(Get(0)), 1);
}

TEST_F(JobSchedulingTest, WaitingBehindAnotherIsNotEvaluating) {
  auto a = world_.AddWorker("a");
  JobSpec spec = SphereSpec();
  spec.attempt_timeout = absl::Seconds(60);
  job_ = world_.Submit(spec).id;
  world_.loop->Tick();
  const Assignment first = a->held.front();
  for (int i = 0; i < 100; ++i) {
    world_.clock.Advance(absl::Seconds(1));
    world_.loop->WorkerHeartbeat("a", {{first.id, first.token, "queued"}}, false);
    world_.loop->Tick();
  }
  EXPECT_FALSE(Get(0).attempts[0].ended);
}

TEST_F(JobSchedulingTest, AWorkerThatDoesNotStopIsGivenNothingAndThenQuarantined) {
  auto a = world_.AddWorker("a");
  JobSpec spec = SphereSpec();
  spec.attempt_timeout = absl::Seconds(60);
  job_ = world_.Submit(spec).id;
  world_.loop->Tick();
  const Assignment stuck = a->held.front();
  const auto beat = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      world_.loop->WorkerHeartbeat("a", {{stuck.id, stuck.token, "evaluate"}}, false);
      world_.loop->Tick();
    }
  };
  beat(63);
  ASSERT_EQ(Get(0).attempts[0].failure, FailureClass::kTimedOut);
  beat(57);
  EXPECT_NE((*world_.loop->ListWorkers())[0].state, "quarantined");
  beat(6);
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "quarantined");
  EXPECT_THAT((*world_.loop->ListWorkers())[0].quarantine, HasSubstr("has not stopped an attempt"));
}

TEST_F(JobSchedulingTest, WithoutABoundOfItsOwnAJobLearnsHowLongIsTooLong) {
  auto a = world_.AddWorker("a", 1);
  JobSpec spec = SphereSpec();
  job_ = world_.Submit(spec).id;
  for (int i = 0; i < 40 && world_.Summary(job_).search_finished < 8; ++i) {
    Pass(20);  // each takes twenty seconds
    (void)world_.Work(*a);
    world_.loop->Tick();
  }
  ASSERT_GE(world_.Summary(job_).search_finished, 8);
  Pass(550);
  EXPECT_THAT(a->cancelled, IsEmpty());
  Pass(60);
  EXPECT_FALSE(a->cancelled.empty());  // ten minutes, which is more than five times twenty seconds
}

// --- stragglers -------------------------------------------------------------------------------

class StragglerTest : public JobSchedulingTest {
 protected:
  // A generation of which one candidate is left, on `slow`.
  void LeaveOne() {
    slow_ = world_.AddWorker("slow");
    fast_ = world_.AddWorker("fast");
    world_.options.prefetch = 0;
    world_.NewLoop();
    ASSERT_TRUE(world_.Connect(slow_).ok());
    ASSERT_TRUE(world_.Connect(fast_).ok());
    job_ = world_.Submit(SphereSpec()).id;
    for (int i = 0; i < 200 && world_.Summary(job_).search_finished < 6; ++i) {
      world_.loop->Tick();
      (void)world_.Work(*slow_);
      (void)world_.Work(*fast_);
    }
    world_.loop->Tick();
    ASSERT_FALSE(slow_->held.empty());
    for (int i = 0; i < 50 && world_.Summary(job_).search_finished < 11; ++i) {
      (void)world_.Work(*fast_);
      world_.loop->Tick();
    }
    ASSERT_EQ(world_.Summary(job_).running, 1);
    ASSERT_THAT(fast_->held, IsEmpty());
  }
  std::shared_ptr<FakeWorker> slow_, fast_;
};

TEST_F(StragglerTest, TheLastOfAGenerationGetsASecondAttemptAndTheFirstResultCounts) {
  LeaveOne();
  const Assignment straggler = slow_->held.front();
  Pass(58);
  EXPECT_THAT(fast_->held, IsEmpty());
  Pass(4);
  ASSERT_THAT(fast_->held, SizeIs(1));
  EXPECT_EQ(fast_->held[0].id.candidate, straggler.id.candidate);
  EXPECT_NE(fast_->held[0].token, straggler.token);
  EXPECT_EQ(LiveAttempts(Get(straggler.id.candidate)), 2);
  Pass(100);
  EXPECT_EQ(LiveAttempts(Get(straggler.id.candidate)), 2) << "one more, not many";
  EXPECT_EQ(*world_.Work(*fast_), Disposition::kCommitted);
  EXPECT_THAT(slow_->cancelled, ElementsAre(straggler.id));
  EXPECT_EQ(Get(straggler.id.candidate).state, CandidateState::kSucceeded);
  EXPECT_EQ(*world_.loop->ReportAttempt(*world_.Evaluate(*slow_, straggler)), Disposition::kSuperseded);
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_F(StragglerTest, TheSecondAttemptsFailureChangesNothing) {
  LeaveOne();
  const Assignment straggler = slow_->held.front();
  Pass(62);
  ASSERT_THAT(fast_->held, SizeIs(1));
  Fail(*fast_, FailureClass::kTransient, "out of luck");
  EXPECT_EQ(Get(straggler.id.candidate).state, CandidateState::kRunning);
  EXPECT_EQ(CountedAttempts(Get(straggler.id.candidate)), 0);
  EXPECT_EQ(*world_.Work(*slow_), Disposition::kCommitted);
  EXPECT_EQ(Get(straggler.id.candidate).state, CandidateState::kSucceeded);
}

TEST_F(StragglerTest, WhenTheFirstIsLostTheSecondGoesOn) {
  LeaveOne();
  const int64_t candidate = slow_->held.front().id.candidate;
  Pass(62);
  ASSERT_THAT(fast_->held, SizeIs(1));
  world_.loop->WorkerDisconnected("slow", slow_.get(), /*gone=*/true);
  world_.workers.erase("slow");
  Pass(1);
  EXPECT_EQ(Get(candidate).state, CandidateState::kRunning);
  EXPECT_EQ(CountedAttempts(Get(candidate)), 1);
  EXPECT_EQ(*world_.Work(*fast_), Disposition::kCommitted);
  EXPECT_EQ(Get(candidate).state, CandidateState::kSucceeded);
}

TEST_F(StragglerTest, AnIdleWorkerNeedNotWaitForTheLeaseOfOneThatVanished) {
  LeaveOne();
  const Assignment lost = slow_->held.front();
  world_.loop->WorkerDisconnected("slow", slow_.get(), /*gone=*/false);
  world_.workers.erase("slow");
  Pass(4);
  EXPECT_THAT(fast_->held, IsEmpty()) << "a connection that broke may come back";
  Pass(3);
  ASSERT_THAT(fast_->held, SizeIs(1));
  EXPECT_EQ(fast_->held[0].id.candidate, lost.id.candidate);
  EXPECT_EQ(LiveAttempts(Get(lost.id.candidate)), 2) << "the first may still report";
  EXPECT_EQ(*world_.Work(*fast_), Disposition::kCommitted);
  EXPECT_EQ(*world_.loop->ReportAttempt(*world_.Evaluate(*slow_, lost)), Disposition::kSuperseded);
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_F(StragglerTest, BothAttemptsSurviveARestartOfTheCoordinator) {
  LeaveOne();
  const int64_t candidate = slow_->held.front().id.candidate;
  Pass(62);
  ASSERT_THAT(fast_->held, SizeIs(1));
  world_.NewLoop();
  ASSERT_TRUE(world_.Connect(slow_).ok());
  ASSERT_TRUE(world_.Connect(fast_).ok());
  Pass(20);
  EXPECT_THAT(slow_->disowned, IsEmpty());
  EXPECT_THAT(fast_->disowned, IsEmpty());
  EXPECT_EQ(*world_.Work(*slow_), Disposition::kCommitted);
  EXPECT_EQ(Get(candidate).state, CandidateState::kSucceeded);
  EXPECT_THAT(fast_->cancelled, SizeIs(1));
}

TEST_F(JobSchedulingTest, ARollingSearchHasNoStragglers) {
  auto slow = world_.AddWorker("slow");
  auto fast = world_.AddWorker("fast");
  JobSpec spec = SphereSpec();
  spec.mode = SearchMode::kRolling;
  job_ = world_.Submit(spec).id;
  RunUntilSearch();
  for (int i = 0; i < 200; ++i) {
    if (!fast->held.empty()) (void)world_.Work(*fast);
    Pass(1);
  }
  for (const Candidate& candidate : world_.Candidates(job_)) {
    for (const Attempt& attempt : candidate.attempts) EXPECT_FALSE(attempt.speculative);
  }
}

// --- capabilities -----------------------------------------------------------------------------

TEST_F(JobSchedulingTest, AJobOnlyGoesToWorkersThatFitAndSaysAtOnceIfNoneDoes) {
  JobSpec spec = SphereSpec();
  spec.workers = {.memory_bytes = int64_t{80} << 30, .device = "cuda", .labels = {{"pool", "a"}}};
  job_ = world_.Submit(spec).id;
  world_.loop->Tick();
  EXPECT_EQ(world_.Summary(job_).waiting, "no worker is connected");
  EXPECT_EQ(world_.Summary(job_).unschedulable, "");
  auto cpu = AddWorker({.id = "1", .device = "cpu", .memory_bytes = int64_t{512} << 30});
  world_.loop->Tick();
  EXPECT_EQ(world_.Summary(job_).unschedulable, "device");
  auto small = AddWorker({.id = "2", .device = "cuda:1", .memory_bytes = int64_t{40} << 30});
  world_.loop->Tick();
  EXPECT_EQ(world_.Summary(job_).waiting, "no worker has 80.0 GiB of device memory; the largest has 40.0 GiB");
  auto other = AddWorker({.id = "3", .device = "cuda:0", .memory_bytes = int64_t{80} << 30, .labels = {{"pool", "b"}}});
  world_.loop->Tick();
  EXPECT_EQ(world_.Summary(job_).waiting, "no worker that could run it has the labels pool=a");
  EXPECT_EQ(world_.Summary(job_).unschedulable, "labels");
  auto fits = AddWorker({.id = "4", .device = "cuda:0", .memory_bytes = int64_t{80} << 30, .labels = {{"pool", "a"}}});
  world_.loop->Tick();
  EXPECT_THAT(fits->held, SizeIs(1));
  for (const auto& worker : {cpu, small, other}) EXPECT_THAT(worker->held, IsEmpty());
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_F(JobSchedulingTest, AHubIdDoesNotGoToAWorkerWhoseModelRootsExcludeTheHubCache) {
  auto confined = AddWorker({.id = "1", .hub_cache = false});
  JobSpec spec = SphereSpec();
  spec.models[1].path = "org/ja@main";
  job_ = world_.Submit(spec).id;
  world_.loop->Tick();
  EXPECT_EQ(world_.Summary(job_).unschedulable, "hub_cache");
  EXPECT_THAT(world_.Summary(job_).waiting, testing::HasSubstr("models.ja (org/ja@main) would be"));
  auto fits = AddWorker({.id = "2"});
  world_.loop->Tick();
  EXPECT_THAT(fits->held, SizeIs(1));
  EXPECT_THAT(confined->held, IsEmpty());
}

TEST_F(JobSchedulingTest, ABusyFleetIsSaidToBeBusy) {
  world_.AddWorker("a");
  job_ = world_.Submit(SphereSpec()).id;
  for (int i = 0; i < 100 && world_.Summary(job_).phase != JobPhase::kBaselines; ++i) {
    world_.loop->Tick();
    (void)world_.Work(*world_.workers["a"]);
  }
  world_.loop->Tick();
  EXPECT_EQ(world_.Summary(job_).waiting, "all 1 slot of the workers that fit are busy");
}

}  // namespace
}  // namespace merganser

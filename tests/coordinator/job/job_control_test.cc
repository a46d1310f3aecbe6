// What people do to jobs and workers while they run.
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/job_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

JobUpdate Candidates(int64_t n) {
  JobUpdate update{.fields = {"budget.candidates"}};
  update.values.budget.candidates = n;
  return update;
}

class JobControlTest : public ::testing::Test {
 protected:
  void Pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      for (auto& [id, worker] : world_.workers) world_.loop->WorkerHeartbeat(id, worker->running(), worker->draining);
      world_.loop->Tick();
    }
  }
  // Works until the job has so many finished candidates of its search.
  void RunUntil(int64_t finished) {
    for (int i = 0; i < 1000 && world_.Summary(job_).search_finished < finished; ++i) {
      world_.loop->Tick();
      for (auto& [id, worker] : world_.workers) (void)world_.Work(*worker);
    }
    ASSERT_GE(world_.Summary(job_).search_finished, finished);
  }
  std::vector<std::pair<int64_t, JobEvent>> Log() {
    std::vector<std::pair<int64_t, JobEvent>> log;
    while (true) {
      JobManager::EventBatch batch = *world_.loop->EventsAfter(job_, static_cast<int64_t>(log.size()));
      if (batch.events.empty()) return log;
      std::move(batch.events.begin(), batch.events.end(), std::back_inserter(log));
    }
  }
  std::vector<std::string> Actions() {
    std::vector<std::string> actions;
    for (const auto& [seq, event] : Log()) {
      const auto* action = std::get_if<ActionTaken>(&event.body);
      if (action != nullptr) actions.push_back(absl::StrCat(ToString(action->kind), "|", action->by, "|", action->message));
    }
    return actions;
  }
  void ExpectReplayGivesTheSameState() {
    const JobState& state = *world_.loop->StateOf(job_);
    JobState replayed(job_, *state.submitted_spec());
    for (const auto& [seq, event] : Log()) {
      const absl::Status fits = replayed.Apply(seq, *ProtoJobCodec().DecodeEvent(ProtoJobCodec().EncodeEvent(event)));
      ASSERT_TRUE(fits.ok()) << fits;
    }
    EXPECT_TRUE(replayed == state);
  }

  World world_;
  std::string job_;
};

TEST_F(JobControlTest, APausedJobFinishesWhatRunsAndDispatchesNothing) {
  auto worker = world_.AddWorker("w", 2);
  job_ = world_.Submit(SphereSpec()).id;
  RunUntil(1);
  ASSERT_FALSE(worker->held.empty());
  const JobSummary paused = *world_.loop->PauseJob(job_, "submitter/alice");
  EXPECT_TRUE(paused.paused);
  EXPECT_EQ(paused.phase, JobPhase::kSearch);
  for (int i = 0; i < 20; ++i) {
    (void)world_.Work(*worker);
    Pass(1);
  }
  EXPECT_THAT(worker->held, IsEmpty());
  EXPECT_EQ(world_.Summary(job_).running, 0);
  EXPECT_GT(world_.Summary(job_).queued, 0);
  EXPECT_EQ(world_.Summary(job_).waiting, "the job is paused");
  ExpectReplayGivesTheSameState();
  EXPECT_FALSE(world_.loop->ResumeJob(job_, "submitter/bob")->paused);
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  EXPECT_THAT(Actions(), ElementsAre("paused|submitter/alice|", "resumed|submitter/bob|"));
  ExpectReplayGivesTheSameState();
}

TEST_F(JobControlTest, PausingTwiceIsOnePauseAndAFinishedJobCannotBePaused) {
  world_.AddWorker("w", 2);
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_TRUE(world_.loop->PauseJob(job_).ok());
  const int64_t seq = world_.Summary(job_).seq;
  EXPECT_EQ(world_.loop->PauseJob(job_)->seq, seq);
  EXPECT_TRUE(world_.loop->ResumeJob(job_).ok());
  EXPECT_EQ(world_.loop->ResumeJob(job_)->seq, seq + 1);
  world_.Run(job_);
  EXPECT_TRUE(absl::IsFailedPrecondition(world_.loop->PauseJob(job_).status()));
  EXPECT_THAT(world_.loop->ResumeJob(job_).status().message(), HasSubstr("is over: succeeded"));
  EXPECT_TRUE(absl::IsNotFound(world_.loop->PauseJob("job-9").status()));
}

TEST_F(JobControlTest, APauseSurvivesARestartOfTheCoordinatorAndDoesNotCountAsWallTime) {
  world_.AddWorker("w", 2);
  JobSpec spec = SphereSpec();
  spec.budget.wall_time = absl::Minutes(10);
  job_ = world_.Submit(spec).id;
  RunUntil(1);
  ASSERT_TRUE(world_.loop->PauseJob(job_).ok());
  world_.workers.clear();
  world_.NewLoop();
  EXPECT_TRUE(world_.Summary(job_).paused);
  world_.AddWorker("w-2", 2);
  Pass(900);
  ASSERT_TRUE(world_.loop->ResumeJob(job_).ok());
  EXPECT_EQ(world_.Run(job_).search_finished, 14);
}

TEST_F(JobControlTest, ACancelledJobMayHaveBeenPaused) {
  world_.AddWorker("w");
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_TRUE(world_.loop->PauseJob(job_).ok());
  EXPECT_EQ(world_.loop->CancelJob(job_, "submitter/alice")->phase, JobPhase::kCancelled);
  EXPECT_THAT(Actions(), testing::Contains("cancelled|submitter/alice|"));
  ExpectReplayGivesTheSameState();
}

TEST_F(JobControlTest, ALargerBudgetIsMetExactlyAsIfItHadBeenSubmitted) {
  world_.AddWorker("w", 2);
  JobSpec large = SphereSpec();
  large.budget.candidates = 30;
  const std::string whole = world_.Submit(large).id;
  world_.Run(whole);
  job_ = world_.Submit(SphereSpec("grown")).id;
  RunUntil(7);
  const JobSummary updated = *world_.loop->UpdateJob(job_, Candidates(30), "submitter/alice");
  EXPECT_EQ(updated.search_total, 30);
  EXPECT_EQ(updated.spec.budget.candidates, 30);
  EXPECT_EQ(world_.Run(job_).search_finished, 30);
  EXPECT_THAT(Actions(), ElementsAre("updated|submitter/alice|budget.candidates 14 -> 30"));
  const std::vector<Candidate> a = world_.Candidates(whole), b = world_.Candidates(job_);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].genome, b[i].genome) << i;
  ExpectReplayGivesTheSameState();
}

TEST_F(JobControlTest, AFinishedJobGoesOnWithALargerBudget) {
  world_.AddWorker("w", 2);
  job_ = world_.Submit(SphereSpec()).id;
  const JobSummary first = world_.Run(job_);
  ASSERT_EQ(first.phase, JobPhase::kSucceeded);
  const size_t before = world_.Candidates(job_).size();
  const JobSummary reopened = *world_.loop->UpdateJob(job_, Candidates(120));
  EXPECT_EQ(reopened.phase, JobPhase::kSearch);
  EXPECT_EQ(reopened.end_time, absl::InfiniteFuture());
  const JobSummary second = world_.Run(job_);
  EXPECT_EQ(second.phase, JobPhase::kSucceeded) << second.message;
  EXPECT_EQ(second.search_finished, 120);
  EXPECT_GT(second.best_fitness[0], first.best_fitness[0]);
  // Held out: only the new winner, the others have their scores.
  std::vector<std::string> held_out;
  for (const Candidate& candidate : world_.Candidates(job_)) {
    if (candidate.kind == CandidateKind::kHeldOut && candidate.number >= static_cast<int64_t>(before)) {
      held_out.push_back(candidate.label);
      EXPECT_EQ(candidate.recipe, world_.Candidates(job_)[*second.best_candidate].recipe);
    }
  }
  EXPECT_THAT(held_out, ElementsAre("winner"));
  ExpectReplayGivesTheSameState();
  const JobState state = *world_.loop->StateOf(job_);
  world_.NewLoop();
  EXPECT_TRUE(state == *world_.loop->StateOf(job_));
}

TEST_F(JobControlTest, AJobWithStagesAndFinalistsGoesOnInItsLastStage) {
  world_.AddWorker("w", 2);
  job_ = world_.Submit(StagedSpec()).id;
  ASSERT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  JobUpdate first = Candidates(20);
  first.stage = 0;
  EXPECT_THAT(world_.loop->UpdateJob(job_, first).status().message(), HasSubstr("budget: that stage is over"));
  ASSERT_EQ(world_.loop->UpdateJob(job_, Candidates(18))->phase, JobPhase::kSearch);
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 14 + 18);
  EXPECT_EQ(world_.Candidates(job_)[*job.best_candidate].kind, CandidateKind::kFinalist);
  ExpectReplayGivesTheSameState();
}

TEST_F(JobControlTest, AJobThatGoesOnWhileItsHeldOutCandidatesRunFinishesThemFirst) {
  auto worker = world_.AddWorker("w", 1);
  job_ = world_.Submit(SphereSpec()).id;
  for (int i = 0; i < 1000 && world_.Summary(job_).phase != JobPhase::kHeldOut; ++i) {
    world_.loop->Tick();
    (void)world_.Work(*worker);
  }
  ASSERT_EQ(world_.loop->UpdateJob(job_, Candidates(20))->phase, JobPhase::kSearch);
  const JobSummary job = world_.Run(job_);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 20);
  ExpectReplayGivesTheSameState();
}

TEST_F(JobControlTest, UpdatesThatMakeNoSenseAreRefusedAndNameTheField) {
  world_.AddWorker("w", 2);
  job_ = world_.Submit(SphereSpec()).id;
  RunUntil(7);
  const auto message = [&](const JobUpdate& update) {
    return std::string(world_.loop->UpdateJob(job_, update).status().message());
  };
  EXPECT_THAT(message(Candidates(5)), HasSubstr("budget.candidates: 5 is below the 12 that are proposed already"));
  EXPECT_THAT(message({}), HasSubstr("update_mask: names no field"));
  EXPECT_THAT(message({.fields = {"bugdet"}}), HasSubstr("update_mask: 'bugdet' cannot change"));
  JobUpdate priority{.fields = {"priority"}};
  priority.values.priority = 1000;
  EXPECT_THAT(message(priority), HasSubstr("priority: 1000 is not in [-100, 100]"));
  JobUpdate stage = Candidates(20);
  stage.stage = 3;
  EXPECT_THAT(message(stage), HasSubstr("stage: 3 is not in [0, 0]"));
  const int64_t seq = world_.Summary(job_).seq;
  EXPECT_EQ(world_.loop->UpdateJob(job_, Candidates(14))->seq, seq) << "nothing changes, so nothing is logged";
  world_.Run(job_);
  priority.values.priority = 3;
  EXPECT_THAT(message(priority), HasSubstr("only a budget beyond the 14 candidates"));
  const std::string other = world_.Submit(SphereSpec("other")).id;
  ASSERT_TRUE(world_.loop->CancelJob(other).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(world_.loop->UpdateJob(other, Candidates(50)).status()));
}

TEST_F(JobControlTest, AnUpdateIsAnsweredWithTheOtherBoundThatEndsTheSearchFirst) {
  world_.AddWorker("w", 2);
  job_ = world_.Submit(SampledSpec(20)).id;  // 60 candidates
  RunUntil(11);
  const JobState& state = *world_.loop->StateOf(job_);
  ASSERT_EQ(SamplesPerCandidate(state.spec(), *state.facts()), 20);
  JobUpdate samples{.fields = {"budget.samples"}};
  samples.values.budget.samples = 800;
  ASSERT_TRUE(world_.loop->UpdateJob(job_, samples).ok());
  EXPECT_EQ(*world_.loop->WhatBinds(job_, samples), "") << "nothing comes before what was changed";
  ASSERT_TRUE(world_.loop->UpdateJob(job_, Candidates(100)).ok());
  EXPECT_EQ(*world_.loop->WhatBinds(job_, Candidates(100)),
            "budget.samples of 800 ends the search after about 40 candidates");
  samples.values.budget.samples = 8000;
  ASSERT_TRUE(world_.loop->UpdateJob(job_, samples).ok());
  EXPECT_EQ(*world_.loop->WhatBinds(job_, samples), "budget.candidates of 100 ends the search after about 100 candidates");
  JobUpdate gpu{.fields = {"budget.gpu_time"}};
  gpu.values.budget.gpu_time = absl::Seconds(15);  // a candidate takes half a second
  ASSERT_TRUE(world_.loop->UpdateJob(job_, gpu).ok());
  EXPECT_EQ(*world_.loop->WhatBinds(job_, Candidates(100)),
            "budget.gpu_time of 15s ends the search after about 30 candidates");
  EXPECT_EQ(*world_.loop->WhatBinds(job_, {.fields = {"priority"}}), "");
  JobUpdate time{.fields = {"budget.wall_time"}};
  time.values.budget.wall_time = absl::Seconds(1);
  Pass(2);
  ASSERT_TRUE(world_.loop->UpdateJob(job_, time).ok());
  EXPECT_EQ(*world_.loop->WhatBinds(job_, Candidates(100)),
            "budget.wall_time of 1s is reached: the search proposes nothing more");
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  EXPECT_THAT(world_.loop->UpdateJob(job_, Candidates(200)).status().message(),
              HasSubstr("lets it go on, and budget.wall_time of 1s is reached"));
}

TEST_F(JobControlTest, WhoSubmittedIsInTheLog) {
  job_ = world_.loop->CreateJob("", SphereSpec(), "submitter/alice")->id;
  EXPECT_THAT(Actions(), ElementsAre("submitted|submitter/alice|"));
  job_ = world_.loop->CreateJob("", SphereSpec(), "")->id;
  EXPECT_THAT(Actions(), IsEmpty());
}

TEST_F(JobControlTest, WhatIsDoneToWorkersIsInTheLogOfTheJobsThatRun) {
  auto worker = world_.AddWorker("w-1");
  world_.AddWorker("w-2");
  job_ = world_.Submit(SphereSpec()).id;
  ASSERT_TRUE(world_.loop->DrainWorker("w-1", "admin/carol").ok());
  ASSERT_TRUE(world_.loop->DrainWorker("w-1", "admin/carol").ok());
  ASSERT_TRUE(world_.loop->QuarantineWorker("w-2", absl::Hours(1), "its fan", "admin/carol").ok());
  ASSERT_TRUE(world_.loop->ReleaseWorker("w-2", "admin/carol").ok());
  EXPECT_THAT(Actions(), ElementsAre("worker_drained|admin/carol|w-1", "worker_quarantined|admin/carol|w-2: its fan",
                                     "worker_released|admin/carol|w-2"));
}

TEST_F(JobControlTest, AWorkerIsNamedByItsIdOrByANameThatIsItsAlone) {
  world_.AddWorker("w-1");
  for (const char* id : {"a-1", "a-2"}) {
    auto worker = std::make_shared<FakeWorker>(id);
    ASSERT_TRUE(world_.loop->WorkerConnected({.id = id, .name = "alpha"}, {}, worker).ok());
    world_.workers[id] = worker;
  }
  const absl::Status both = world_.loop->QuarantineWorker("alpha", absl::Hours(1), "", "");
  EXPECT_TRUE(absl::IsInvalidArgument(both));
  EXPECT_THAT(both.message(), HasSubstr("a-1, a-2"));
  EXPECT_TRUE(absl::IsNotFound(world_.loop->DrainWorker("beta", "")));
  // The process that had the name before is listed for a while, but nobody means it.
  world_.loop->WorkerDisconnected("a-1", world_.workers["a-1"].get(), /*gone=*/false);
  EXPECT_TRUE(world_.loop->QuarantineWorker("alpha", absl::Hours(1), "", "").ok());
  EXPECT_TRUE(world_.loop->DrainWorker("alpha", "").ok());
  EXPECT_TRUE(world_.workers["a-2"]->draining);
  EXPECT_TRUE(world_.loop->ReleaseWorker("a-2", "").ok());
}

TEST_F(JobControlTest, QuarantinesOutliveJobsAndLeaders) {
  for (const char* id : {"early", "late", "free"}) world_.AddWorker(id);
  ASSERT_TRUE(world_.loop->QuarantineWorker("early", absl::Hours(1), "its\tfan\n", "admin/carol").ok());
  ASSERT_TRUE(world_.loop->QuarantineWorker("late", absl::InfiniteDuration(), "", "").ok());
  ASSERT_TRUE(world_.loop->QuarantineWorker("free", absl::Hours(1), "", "").ok());
  ASSERT_TRUE(world_.loop->ReleaseWorker("free", "").ok());
  const auto worker = [this](const std::string& id) {
    const std::vector<WorkerStatus> workers = *world_.loop->ListWorkers();
    for (const WorkerStatus& status : workers) {
      if (status.info.id == id) return status;
    }
    return WorkerStatus();
  };
  world_.NewLoop();
  EXPECT_EQ(worker("early").state, "lost") << "it has not come back, but everybody can see it";
  EXPECT_EQ(worker("early").quarantine, "its\tfan\n");
  EXPECT_EQ(worker("free").state, "") << "of whom there is nothing to know";
  for (auto& [id, fake] : world_.workers) ASSERT_TRUE(world_.Connect(fake).ok());
  EXPECT_EQ(worker("early").state, "quarantined");
  EXPECT_EQ(worker("free").state, "idle");
  EXPECT_EQ(worker("late").state, "quarantined");
  EXPECT_EQ(worker("late").quarantine, "by its operator");
  EXPECT_EQ(worker("late").quarantine_end_time, absl::InfiniteFuture());

  world_.clock.Advance(absl::Hours(1));
  world_.NewLoop();
  ASSERT_TRUE(world_.loop->ReleaseWorker("late", "").ok()) << "before it connects";
  world_.NewLoop();
  for (auto& [id, fake] : world_.workers) ASSERT_TRUE(world_.Connect(fake).ok());
  for (const char* id : {"early", "late", "free"}) EXPECT_EQ(worker(id).state, "idle") << id;
}

TEST_F(JobControlTest, AQuarantineOutlivesTheListingOfALostWorker) {
  const auto worker = world_.AddWorker("w");
  ASSERT_TRUE(world_.loop->QuarantineWorker("w", absl::Hours(1), "", "").ok());
  world_.loop->WorkerDisconnected("w", worker.get(), /*gone=*/false);
  world_.workers.clear();  // so that it sends no heartbeats
  Pass(1800);
  ASSERT_TRUE(world_.Connect(worker).ok());
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "quarantined");
}

TEST_F(JobControlTest, AQuarantineThatTheStoreDidNotTakeOrHasLostIsStoredLater) {
  world_.AddWorker("w");
  world_.store.fault = [](absl::string_view operation) {
    return operation == "put_fleet" ? FaultyStore::Fault::kBefore : FaultyStore::Fault::kNone;
  };
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->QuarantineWorker("w", absl::Hours(1), "its fan", "")));
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "quarantined") << "it holds nevertheless";
  EXPECT_EQ(*world_.memory.GetFleet(), "");
  world_.store.fault = [](absl::string_view) { return FaultyStore::Fault::kNone; };
  Pass(2);
  const std::string stored = *world_.memory.GetFleet();
  EXPECT_THAT(stored, HasSubstr("its fan"));
  ASSERT_TRUE(world_.memory.PutFleet(world_.loop->epoch(), "").ok()) << "a replica that lags took over";
  Pass(10);
  EXPECT_EQ(*world_.memory.GetFleet(), stored);
}

TEST_F(JobControlTest, DamagedQuarantinesDoNotKeepACoordinatorFromLeading) {
  for (const char* damaged : {"quarantines 2", "quarantines 1\nx", "quarantines 1\n0\t1\tw\t\t\t", "\x01"}) {
    ASSERT_TRUE(world_.memory.PutFleet(world_.loop->epoch(), damaged).ok());
    world_.NewLoop();
    EXPECT_TRUE(world_.loop->leading());
    EXPECT_THAT(*world_.loop->ListWorkers(), IsEmpty()) << damaged;
  }
}

TEST_F(JobControlTest, ACandidateSaysWhyItWaits) {
  world_.AddWorker("w");
  world_.options.prefetch = 0;
  world_.NewLoop();
  ASSERT_TRUE(world_.Connect(world_.workers["w"]).ok());
  job_ = world_.Submit(SphereSpec()).id;
  RunUntil(1);
  world_.loop->Tick();
  const JobState& state = *world_.loop->StateOf(job_);
  ASSERT_GE(state.queued().size(), 2u);
  const int64_t first = *state.queued().begin(), last = *state.queued().rbegin();
  const std::string busy = "all 1 slot of the workers that fit are busy";
  EXPECT_EQ(*world_.loop->WhyCandidateWaits(job_, first), busy);
  EXPECT_EQ(*world_.loop->WhyCandidateWaits(job_, last),
            absl::StrCat(busy, "; ", state.queued().size() - 1, " of the job's candidates come before it"));
  EXPECT_EQ(*world_.loop->WhyCandidateWaits(job_, *state.running().begin()), "");
  EXPECT_EQ(*world_.loop->WhyCandidateWaits(job_, 0), "") << "it has finished";
  ASSERT_TRUE(world_.loop->PauseJob(job_).ok());
  EXPECT_EQ(*world_.loop->WhyCandidateWaits(job_, last), "the job is paused");
}

TEST_F(JobControlTest, AQuarantinedWorkerGetsNothingUntilItsTimeIsOver) {
  auto worker = world_.AddWorker("w");
  ASSERT_TRUE(world_.loop->QuarantineWorker("w", absl::Seconds(30), "", "").ok());
  EXPECT_TRUE(absl::IsNotFound(world_.loop->QuarantineWorker("x", absl::Seconds(30), "", "")));
  EXPECT_TRUE(absl::IsInvalidArgument(world_.loop->QuarantineWorker("w", absl::ZeroDuration(), "", "")));
  job_ = world_.Submit(SphereSpec()).id;
  Pass(29);
  EXPECT_THAT(worker->held, IsEmpty());
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "quarantined");
  EXPECT_EQ((*world_.loop->ListWorkers())[0].quarantine, "by its operator");
  EXPECT_EQ(world_.Summary(job_).waiting, "every worker that fits is quarantined");
  Pass(2);
  EXPECT_THAT(worker->held, SizeIs(1));
}

}  // namespace
}  // namespace merganser

// What becomes of a job, step by step, under a fake clock.
#include "coordinator/job/job_loop.h"

#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/job_loop_testing.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(JobLoopTest, AJobRunsToItsEndWithTheExactBudget) {
  world_.AddWorker("w-1");
  world_.AddWorker("w-2", 2);
  const JobSummary job = world_.Run(world_.Submit(SphereSpec()).id);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 14);
  EXPECT_EQ(job.search_total, 14);
  EXPECT_EQ(job.dimension, 8);
  EXPECT_EQ(job.population, 6);
  EXPECT_EQ(job.succeeded, 1 + 4 + 14 + 5);
  EXPECT_EQ(job.facts->num_layers, 2);
  const std::vector<Candidate> candidates = world_.Candidates(job.id);
  ASSERT_THAT(candidates, SizeIs(24));
  const auto label = [&](int64_t n) { return std::string(ToString(candidates[n].kind)) + " " + candidates[n].label; };
  EXPECT_EQ(label(0), "prepare ");
  EXPECT_EQ(label(1), "source base");
  EXPECT_EQ(label(3), "source math");
  EXPECT_EQ(label(4), "average average");
  EXPECT_EQ(label(kFirstSearch), "search ");
  EXPECT_EQ(label(19), "held_out base");
  EXPECT_EQ(label(22), "held_out average");
  EXPECT_EQ(label(23), "held_out winner");
  EXPECT_THAT(candidates[23].benchmarks, ElementsAre("sphere_test"));
  EXPECT_EQ(candidates[23].recipe, candidates[*job.best_candidate].recipe);
  EXPECT_TRUE(candidates[23].fitness.empty());
  for (const Candidate& candidate : candidates) {
    if (candidate.kind != CandidateKind::kSearch) continue;
    EXPECT_LE(candidate.fitness[0], job.best_fitness[0]);
    EXPECT_EQ(candidate.generation, (candidate.number - kFirstSearch) / 6);
  }
  for (const auto& [id, times] : world_.evaluated) EXPECT_EQ(times, 1) << id.second;
  EXPECT_DOUBLE_EQ(job.timings.decode, 0.5 * 23);
}

TEST_F(JobLoopTest, TheSearchLearnsFromWhatItMeasured) {
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 240;
  world_.AddWorker("w", 4);
  const JobSummary job = world_.Run(world_.Submit(spec).id);
  const std::vector<Candidate> candidates = world_.Candidates(job.id);
  EXPECT_GT(job.best_fitness[0], candidates[kFirstSearch].fitness[0]);
  EXPECT_GT(job.best_fitness[0], 0.9);  // of 1
}

TEST_F(JobLoopTest, TheSearchDoesNotDependOnTheOrderOfCompletion) {
  const auto genomes = [](std::vector<std::pair<std::string, int>> workers) {
    World world;
    for (const auto& [id, slots] : workers) world.AddWorker(id, slots);
    const std::string job = world.Submit(SphereSpec()).id;
    world.Run(job);
    std::vector<std::vector<double>> genomes;
    for (const Candidate& candidate : world.Candidates(job)) genomes.push_back(candidate.genome);
    return genomes;
  };
  EXPECT_EQ(genomes({{"a", 1}}), genomes({{"a", 1}, {"b", 3}, {"c", 2}}));
}

TEST_F(JobLoopTest, GenerationsTargetAndWallTimeEndTheSearch) {
  world_.AddWorker("w", 2);
  JobSpec spec = SphereSpec();
  spec.held_out.clear();
  spec.budget = {.generations = 2};
  EXPECT_EQ(world_.Run(world_.Submit(spec).id).search_finished, 12);
  spec.budget = {.candidates = 600, .target = -1000};
  EXPECT_EQ(world_.Run(world_.Submit(spec).id).search_finished, 6);
  spec.budget = {.gpu_time = absl::Seconds(10)};
  EXPECT_EQ(world_.Run(world_.Submit(spec).id).search_finished, 24) << "half a second each, generations of 6";
  spec.budget = {.candidates = 100000, .wall_time = absl::Seconds(20)};
  const JobSummary job = world_.Run(world_.Submit(spec).id);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded);
  EXPECT_EQ(job.search_finished % 6, 0);
  EXPECT_LE(job.end_time - job.create_time, absl::Seconds(30));
}

TEST_F(JobLoopTest, AJobThatCannotBeLoadedFailsWithTheWorkersMessage) {
  world_.AddWorker("w");
  world_.fail = [](const Assignment&) { return World::Failure{FailureClass::kInfeasible, "m/ja: no config.json"}; };
  const JobSummary job = world_.Run(world_.Submit(SphereSpec()).id);
  EXPECT_EQ(job.phase, JobPhase::kFailed);
  EXPECT_EQ(job.message, "the job cannot be loaded: m/ja: no config.json");
}

TEST_F(JobLoopTest, ASpaceThatDoesNotFitTheModelsFailsBeforeTheBaselines) {
  world_.AddWorker("w");
  JobSpec spec = SphereSpec();
  spec.parameter.granularity = {.kind = Granularity::Kind::kBlock, .block = 4};
  const JobSummary job = world_.Run(world_.Submit(spec).id);
  EXPECT_EQ(job.phase, JobPhase::kFailed);
  EXPECT_THAT(job.message, HasSubstr("space.parameter.granularity.block: 4 is not in [1, 2]"));
  EXPECT_EQ(world_.evaluated.size(), 1);
}

TEST_F(JobLoopTest, FailedCandidatesAreRankedLastAndABaselineMayFail) {
  world_.AddWorker("w", 2);
  world_.fail = [](const Assignment& a) -> std::optional<World::Failure> {
    if (a.id.candidate != 2 && a.id.candidate % 4 != 3) return std::nullopt;
    return World::Failure{FailureClass::kInfeasible, "nan weights"};
  };
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 120;
  const JobSummary job = world_.Run(world_.Submit(spec).id);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(job.search_finished, 120);
  EXPECT_NE(*job.best_candidate % 4, 3);
  EXPECT_EQ(world_.Candidates(job.id)[7].message, "nan weights");
  EXPECT_THAT(world_.Candidates(job.id)[7].attempts, SizeIs(1));
}

TEST_F(JobLoopTest, ASearchWithoutASuccessFailsAndQuotesTheReason) {
  world_.AddWorker("w", 2);
  world_.metric = "f1";
  const JobSummary job = world_.Run(world_.Submit(SphereSpec()).id);
  EXPECT_EQ(job.phase, JobPhase::kFailed);
  EXPECT_EQ(job.message,
            "no candidate succeeded; most often: objectives[0]: the evaluation has no metric "
            "sphere.acc; known: sphere.f1 (14 of 14)");
}

TEST_F(JobLoopTest, AJobGivesUpWhenMostCandidatesFail) {
  world_.AddWorker("w", 2);
  world_.fail = [](const Assignment& a) -> std::optional<World::Failure> {
    if (a.kind != CandidateKind::kSearch || a.id.candidate % 3 == 0) return std::nullopt;
    return World::Failure{FailureClass::kTransient, "out of memory"};
  };
  JobSpec spec = SphereSpec();
  spec.budget.candidates = 600;
  const JobSummary job = world_.Run(world_.Submit(spec).id);
  EXPECT_EQ(job.phase, JobPhase::kFailed);
  EXPECT_THAT(job.message, HasSubstr("of the first 2"));
  EXPECT_THAT(job.message, HasSubstr("3 of 3 attempts failed; the last: transient: out of memory"));
  EXPECT_LT(job.search_finished, 40);
  EXPECT_EQ(job.queued + job.running, 0);
}

TEST_F(JobLoopTest, TransientFailuresUseUpTheAttempts) {
  auto worker = world_.AddWorker("w");
  First(*worker);
  world_.fail = [](const Assignment&) { return World::Failure{FailureClass::kTransient, "out of memory"}; };
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_THAT(worker->held, SizeIs(1));
    EXPECT_EQ(worker->held[0].id.attempt, attempt);
    EXPECT_EQ(*world_.Work(*worker), Disposition::kCommitted);
    world_.loop->Tick();
  }
  EXPECT_THAT(worker->held, IsEmpty());
  EXPECT_EQ(Get(0).message, "3 of 3 attempts failed; the last: transient: out of memory");
}

TEST_F(JobLoopTest, ReleasedAttemptsAreFreeAndADecliningWorkerMustHeartbeatFirst) {
  auto worker = world_.AddWorker("w");
  First(*worker);
  world_.fail = [](const Assignment&) { return World::Failure{FailureClass::kReleased, "cache is full"}; };
  for (int attempt = 1; attempt <= 5; ++attempt) {
    ASSERT_THAT(worker->held, SizeIs(1));
    EXPECT_EQ(*world_.Work(*worker), Disposition::kCommitted);
    world_.loop->Tick();
    EXPECT_THAT(worker->held, IsEmpty());
    Pass(1);
  }
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  EXPECT_EQ(CountedAttempts(Get(0)), 0);
}

TEST_F(JobLoopTest, ASilentWorkersAttemptGoesToAnotherWithAHigherNumber) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.workers.clear();
  Pass(29);
  EXPECT_EQ(Get(0).attempts[0].ended, false);
  auto other = world_.AddWorker("w-2");
  Pass(1);
  ASSERT_THAT(other->held, SizeIs(1));
  EXPECT_EQ(other->held[0].id.attempt, 2);
  EXPECT_EQ(Get(0).attempts[0].failure, FailureClass::kWorkerLost);
  EXPECT_EQ(Get(0).attempts[0].message, "worker w-1 was silent for 30s");
}

TEST_F(JobLoopTest, ASilentWorkerGetsNoWork) {
  auto worker = world_.AddWorker("w-1");
  Assignment first = First(*worker);
  world_.workers.clear();
  Pass(60);
  EXPECT_EQ(Get(0).state, CandidateState::kQueued);
  EXPECT_THAT(Get(0).attempts, SizeIs(1));
  // It wakes up: what it holds is not its own any more.
  world_.loop->WorkerHeartbeat("w-1", worker->running(), false);
  EXPECT_THAT(worker->disowned, ElementsAre(first.id));
}

TEST_F(JobLoopTest, HeartbeatsKeepALease) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  Pass(300);
  EXPECT_THAT(Get(0).attempts, SizeIs(1));
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
}

TEST_F(JobLoopTest, AnAssignmentThatTheWorkerNeverNamesIsLostAfterTheGrace) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  worker->held.clear();  // the message never arrived
  Pass(10);
  EXPECT_EQ(Get(0).attempts[0].ended, false);
  Pass(2);
  EXPECT_EQ(Get(0).attempts[0].message, "worker w-1 does not know of it");
}

TEST_F(JobLoopTest, ALateResultOfALostAttemptIsAdoptedAndTheRetryCancelled) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  world_.workers.clear();
  auto other = world_.AddWorker("w-2");
  Pass(31);
  ASSERT_THAT(other->held, SizeIs(1));
  EXPECT_EQ(*world_.loop->ReportAttempt(Honest(*worker, first)), Disposition::kCommitted);
  EXPECT_THAT(other->cancelled, ElementsAre(AttemptId{job_, 0, 2}));
  EXPECT_EQ(Get(0).state, CandidateState::kSucceeded);
  EXPECT_THAT(Get(0).record_key, HasSubstr(first.token));
}

TEST_F(JobLoopTest, AResultAfterTheRetryFinishedIsSuperseded) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  world_.workers.clear();
  auto other = world_.AddWorker("w-2");
  Pass(31);
  EXPECT_EQ(*world_.Work(*other), Disposition::kCommitted);
  EXPECT_EQ(*world_.loop->ReportAttempt(Honest(*worker, first)), Disposition::kSuperseded);
}

TEST_F(JobLoopTest, ARepeatedReportIsADuplicate) {
  auto worker = world_.AddWorker("w-1");
  const AttemptReport report = Honest(*worker, First(*worker));
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kCommitted);
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kDuplicate);
  world_.loop->Tick();
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kDuplicate);
}

TEST_F(JobLoopTest, ARepeatedFailureIsADuplicate) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  AttemptReport report{
      .id = first.id, .token = first.token, .worker_id = "w-1", .failure = FailureClass::kTransient, .message = "x"};
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kCommitted);
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kDuplicate);
  EXPECT_EQ(CountedAttempts(Get(0)), 1);
}

TEST_F(JobLoopTest, ReportsThatAreNotTheHoldersAreRejected) {
  auto worker = world_.AddWorker("w-1");
  const AttemptReport good = Honest(*worker, First(*worker));
  std::vector<AttemptReport> bad(6, good);
  bad[0].token = "00000000000000000000000000000000";
  bad[1].id.job_id = "job-9";
  bad[2].id.candidate = 77;
  bad[3].id.attempt = 2;
  bad[4].record_key += "x";
  bad[5].failure = FailureClass::kTransient;  // and a record
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(*world_.loop->ReportAttempt(bad[i]), Disposition::kRejected) << i;
  }
  AttemptReport stranger{.id = good.id, .token = "stranger", .worker_id = "w-1", .failure = FailureClass::kInfeasible};
  EXPECT_EQ(*world_.loop->ReportAttempt(stranger), Disposition::kRejected);
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  EXPECT_EQ(*world_.loop->ReportAttempt(good), Disposition::kCommitted);
}

TEST_F(JobLoopTest, ARecordThatIsNotWhatWasReportedIsRejectedAndRunAgain) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  AttemptReport report = Honest(*worker, first);
  report.record_sha256 = Sha256Hex("other");
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kRejected);
  EXPECT_EQ(Get(0).attempts[0].failure, FailureClass::kTransient);
  EXPECT_THAT(Get(0).attempts[0].message, HasSubstr("sha256 is"));
}

TEST_F(JobLoopTest, AMissingRecordIsRejectedAndRunAgain) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  AttemptReport report{
      .id = first.id, .token = first.token, .worker_id = "w-1", .record_key = first.record_key, .record_sha256 = "00"};
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kRejected);
  EXPECT_EQ(Get(0).attempts[0].failure, FailureClass::kTransient);
}

TEST_F(JobLoopTest, ARecordOfAnotherAttemptIsRejected) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  Assignment other = first;
  other.id.candidate = 5;
  const std::string record = world_.Record(other);
  ASSERT_TRUE(world_.store.PutRecord(first.record_key, record).ok());
  EXPECT_EQ(*world_.loop->ReportAttempt({.id = first.id,
                                         .token = first.token,
                                         .worker_id = "w-1",
                                         .record_key = first.record_key,
                                         .record_sha256 = Sha256Hex(record)}),
            Disposition::kRejected);
  EXPECT_THAT(Get(0).attempts[0].message, HasSubstr("it is of job-1 candidate 5 attempt 1"));
}

TEST_F(JobLoopTest, AnUnreportedRecordIsAdoptedBeforeARetry) {
  auto worker = world_.AddWorker("w-1");
  Honest(*worker, First(*worker));  // recorded; it dies before the report
  world_.workers.clear();
  world_.AddWorker("w-2");
  Pass(31);
  EXPECT_EQ(Get(0).state, CandidateState::kSucceeded);
  EXPECT_THAT(Get(0).attempts, SizeIs(1));
}

TEST_F(JobLoopTest, AWorkerThatSaysGoodbyeFreesItsAttemptsAtOnce) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.loop->WorkerDisconnected("w-1", worker.get(), /*gone=*/true);
  world_.workers.clear();
  world_.loop->Tick();
  EXPECT_EQ(Get(0).attempts[0].failure, FailureClass::kWorkerLost);
  EXPECT_THAT(*world_.loop->ListWorkers(), IsEmpty());
}

TEST_F(JobLoopTest, ADrainedWorkerGetsNothingNewAndItsAttemptsAreReleasedWhenItGoes) {
  auto worker = world_.AddWorker("w-1", 2);
  First(*worker);
  EXPECT_TRUE(absl::IsNotFound(world_.loop->DrainWorker("w-9")));
  ASSERT_TRUE(world_.loop->DrainWorker("w-1").ok());
  EXPECT_TRUE(worker->draining);
  world_.Submit(SphereSpec("other"));
  world_.loop->Tick();
  EXPECT_THAT(worker->held, SizeIs(1));
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "draining");
  world_.loop->WorkerDisconnected("w-1", worker.get(), /*gone=*/true);
  world_.loop->Tick();
  EXPECT_EQ(Get(0).attempts[0].failure, FailureClass::kReleased);
}

TEST_F(JobLoopTest, ABrokenSessionKeepsItsAttemptsWhenItComesBack) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.loop->WorkerDisconnected("w-1", worker.get(), /*gone=*/false);
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "lost");
  world_.workers.clear();
  Pass(20);
  world_.workers["w-1"] = worker;
  ASSERT_TRUE(world_.Connect(worker).ok());
  Pass(20);
  EXPECT_THAT(worker->disowned, IsEmpty());
  EXPECT_EQ(*world_.Work(*worker), Disposition::kCommitted);
  EXPECT_THAT(Get(0).attempts, SizeIs(1));
}

TEST_F(JobLoopTest, TheNewerOfTwoSessionsOfOneIdWins) {
  auto older = world_.AddWorker("w-1");
  First(*older);
  auto newer = std::make_shared<FakeWorker>("w-1");
  ASSERT_TRUE(world_.Connect(newer).ok());
  EXPECT_TRUE(older->sent_away);
  world_.loop->WorkerDisconnected("w-1", older.get(), /*gone=*/true);  // the old stream ends late
  EXPECT_EQ((*world_.loop->ListWorkers())[0].state, "busy");
}

TEST_F(JobLoopTest, WorkersThatMakeNoSenseAreRefused) {
  EXPECT_THAT(world_.Connect(std::make_shared<FakeWorker>("")).message(), HasSubstr("worker.id: missing"));
  EXPECT_THAT(world_.Connect(std::make_shared<FakeWorker>("w"), 0).message(), HasSubstr("worker.slots: 0 is below 1"));
}

TEST_F(JobLoopTest, CancelEndsWhatIsQueuedAndRunning) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  const JobSummary job = *world_.loop->CancelJob("sphere");
  EXPECT_EQ(job.phase, JobPhase::kCancelled);
  EXPECT_EQ(job.cancelled, 1);
  EXPECT_THAT(worker->cancelled, ElementsAre(first.id));
  EXPECT_EQ(*world_.loop->ReportAttempt(Honest(*worker, first)), Disposition::kSuperseded);
  EXPECT_EQ(world_.loop->CancelJob("sphere")->seq, job.seq);
  Pass(5);
  EXPECT_THAT(worker->held, IsEmpty());
}

TEST_F(JobLoopTest, JobsAreFoundByIdAndByTheNewestOfAName) {
  world_.Submit(SphereSpec("a"));
  world_.Submit(SphereSpec("a"));
  EXPECT_EQ(world_.loop->GetJob("a")->id, "job-2");
  EXPECT_EQ(world_.loop->GetJob("job-1")->id, "job-1");
  EXPECT_THAT(*world_.loop->ListJobs(), SizeIs(2));
  EXPECT_THAT(world_.loop->GetJob("b").status().message(), HasSubstr("no job 'b'"));
  EXPECT_THAT(world_.loop->GetCandidate("a", 5).status().message(), HasSubstr("no candidate 5 in job-2"));
}

TEST_F(JobLoopTest, TheSameRequestGivesTheSameJob) {
  EXPECT_EQ(world_.Submit(SphereSpec(), "r-1").id, world_.Submit(SphereSpec(), "r-1").id);
  EXPECT_NE(world_.Submit(SphereSpec(), "r-2").id, world_.Submit(SphereSpec(), "r-1").id);
}

TEST_F(JobLoopTest, WrongSpecsAreRefusedAtOnce) {
  JobSpec spec = SphereSpec();
  spec.optimizer.name = "cma";
  EXPECT_TRUE(absl::IsInvalidArgument(world_.loop->CreateJob("", spec).status()));
  spec = SphereSpec();
  spec.max_attempts = 0;
  EXPECT_THAT(world_.loop->CreateJob("", spec).status().message(), HasSubstr("max_attempts: 0"));
  EXPECT_THAT(*world_.loop->ListJobs(), IsEmpty());
}

}  // namespace
}  // namespace merganser

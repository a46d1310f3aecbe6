// What becomes of a job, step by step, under a fake clock.
#include "coordinator/job/job_loop.h"

#include <set>

#include "common/base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Fault = FaultyStore::Fault;

class JobLoopTest : public ::testing::Test {
 protected:
  // Ticks and heartbeats for `seconds`; nobody works.
  void Pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      for (auto& [id, worker] : world_.workers) {
        world_.loop->WorkerHeartbeat(id, worker->running(), worker->draining);
      }
      world_.loop->Tick();
    }
  }
  // The prepare candidate of a new job, assigned to `worker`.
  Assignment First(FakeWorker& worker, const JobSpec& spec = SphereSpec()) {
    job_ = world_.Submit(spec).id;
    world_.loop->Tick();
    EXPECT_THAT(worker.held, SizeIs(1));
    return worker.held.empty() ? Assignment{} : worker.held.front();
  }
  Candidate Get(int64_t number) { return *world_.loop->GetCandidate(job_, number); }
  AttemptReport Honest(const FakeWorker& worker, const Assignment& a) { return *world_.Evaluate(worker, a); }

  World world_;
  std::string job_;
};

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
  EXPECT_EQ(job.message, "no candidate succeeded; most often: objectives[0]: the evaluation has no metric "
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
  AttemptReport report{.id = first.id, .token = first.token, .worker_id = "w-1",
                       .failure = FailureClass::kTransient, .message = "x"};
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
  AttemptReport stranger{.id = good.id, .token = "stranger", .worker_id = "w-1",
                         .failure = FailureClass::kInfeasible};
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
  AttemptReport report{.id = first.id, .token = first.token, .worker_id = "w-1",
                       .record_key = first.record_key, .record_sha256 = "00"};
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
  EXPECT_EQ(*world_.loop->ReportAttempt({.id = first.id, .token = first.token, .worker_id = "w-1",
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
  EXPECT_THAT(world_.Connect(std::make_shared<FakeWorker>("w"), 0).message(),
              HasSubstr("worker.slots: 0 is below 1"));
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

// --- the store ---------------------------------------------------------------------------------

class StoreAwayTest : public JobLoopTest, public ::testing::WithParamInterface<Fault> {};
INSTANTIATE_TEST_SUITE_P(BeforeAndAfter, StoreAwayTest, ::testing::Values(Fault::kBefore, Fault::kAfter),
                         [](const auto& info) {
                           return info.param == Fault::kBefore ? "BeforeApplying" : "AfterApplying";
                         });

TEST_P(StoreAwayTest, AReportDuringAnOutageIsSettledWhenTheStoreIsBack) {
  auto worker = world_.AddWorker("w-1");
  const AttemptReport report = Honest(*worker, First(*worker));
  world_.store.fault = [](absl::string_view op) { return op == "append" ? GetParam() : Fault::kNone; };
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->ReportAttempt(report).status()));
  Pass(3);
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->ReportAttempt(report).status()));
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);  // not acted on before it is stored
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  Pass(6);
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kDuplicate);
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_P(StoreAwayTest, NothingIsDispatchedBeforeItIsStored) {
  auto worker = world_.AddWorker("w-1");
  job_ = world_.Submit(SphereSpec()).id;
  world_.store.fault = [](absl::string_view op) { return op == "append" ? GetParam() : Fault::kNone; };
  Pass(4);
  EXPECT_THAT(worker->held, IsEmpty());
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  Pass(6);
  EXPECT_THAT(worker->held, SizeIs(1));
}

TEST_P(StoreAwayTest, AJobWhoseCreationGotNoAnswerAppearsIffItWasMade) {
  world_.store.fault = [](absl::string_view op) { return op == "create_job" ? GetParam() : Fault::kNone; };
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->CreateJob("r-1", SphereSpec()).status()));
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  Pass(1);
  EXPECT_THAT(*world_.loop->ListJobs(), SizeIs(GetParam() == Fault::kAfter ? 1 : 0));
  const std::string id = world_.loop->CreateJob("r-1", SphereSpec())->id;
  EXPECT_THAT(*world_.loop->ListJobs(), SizeIs(1));
  world_.AddWorker("w-1");
  EXPECT_EQ(world_.Run(id).phase, JobPhase::kSucceeded);
}

TEST_P(StoreAwayTest, AWholeJobSurvivesAStoreThatFailsEveryThirdTime) {
  world_.AddWorker("w-1", 2);
  int calls = 0;
  world_.store.fault = [&](absl::string_view) { return ++calls % 3 == 0 ? GetParam() : Fault::kNone; };
  absl::StatusOr<JobSummary> job = absl::UnavailableError("");
  while (!job.ok()) job = world_.loop->CreateJob("r-1", SphereSpec());
  const JobSummary end = world_.Run(job->id);
  EXPECT_EQ(end.phase, JobPhase::kSucceeded) << end.message;
  EXPECT_EQ(end.search_finished, 14);
}

TEST_F(JobLoopTest, WithoutItsLeaseRenewedACoordinatorStopsActingAndGoesOnLater) {
  auto worker = world_.AddWorker("w-1");
  const AttemptReport report = Honest(*worker, First(*worker));
  world_.store.fault = [](absl::string_view op) { return op == "renew" ? Fault::kBefore : Fault::kNone; };
  Pass(8);
  EXPECT_TRUE(world_.loop->leading());
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->ReportAttempt(report).status()));
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  Pass(2);
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kCommitted);
}

TEST_F(JobLoopTest, AnOldLeaderStopsAtItsFirstWriteAndSendsItsWorkersAway) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  const AttemptReport report = Honest(*worker, worker->held[0]);
  // Paused past its lease by its own clock's account: another leads meanwhile.
  ASSERT_TRUE(world_.memory.ReleaseLead(world_.loop->epoch()).ok());
  JobLoop successor(&world_.store, &ProtoJobCodec(), &world_.clock, nullptr, world_.options);
  ASSERT_TRUE(successor.Start().ok());
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->ReportAttempt(report).status()));
  EXPECT_FALSE(world_.loop->leading());
  world_.loop->Tick();
  EXPECT_TRUE(worker->sent_away);
  EXPECT_TRUE(absl::IsUnavailable(world_.loop->GetJob(job_).status()));
  // The successor found the record on its own.
  EXPECT_EQ(successor.StateOf(job_)->Find(0)->state, CandidateState::kSucceeded);
}

TEST_F(JobLoopTest, AnIdleOldLeaderStopsWhenItsLeaseCannotBeRenewed) {
  auto worker = world_.AddWorker("w-1");
  ASSERT_TRUE(world_.memory.ReleaseLead(world_.loop->epoch()).ok());
  JobLoop successor(&world_.store, &ProtoJobCodec(), &world_.clock, nullptr, world_.options);
  ASSERT_TRUE(successor.Start().ok());
  Pass(2);
  EXPECT_TRUE(world_.loop->leading());  // it has not asked yet
  Pass(2);
  EXPECT_FALSE(world_.loop->leading());
  EXPECT_TRUE(worker->sent_away);
}

TEST_F(JobLoopTest, OnlyOneLeads) {
  JobLoop other(&world_.store, &ProtoJobCodec(), &world_.clock, nullptr, world_.options);
  EXPECT_TRUE(absl::IsUnavailable(other.Start()));
  world_.loop->Stop();
  EXPECT_TRUE(other.Start().ok());
  EXPECT_GT(other.epoch(), world_.loop->epoch());
}

// --- restarts ----------------------------------------------------------------------------------

TEST_F(JobLoopTest, AfterARestartAWorkerGoesOnWithWhatItRuns) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.NewLoop();
  world_.workers.clear();
  Pass(10);
  world_.workers["w-1"] = worker;
  ASSERT_TRUE(world_.Connect(worker).ok());
  EXPECT_THAT(worker->disowned, IsEmpty());
  Pass(60);
  EXPECT_EQ(*world_.Work(*worker), Disposition::kCommitted);
  EXPECT_THAT(Get(0).attempts, SizeIs(1));
}

TEST_F(JobLoopTest, AfterTheReattachWindowTheRestIsQueuedAgainForFree) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.workers.clear();
  world_.NewLoop();
  auto other = world_.AddWorker("w-2");
  Pass(14);
  EXPECT_THAT(other->held, IsEmpty());
  Pass(1);
  ASSERT_THAT(other->held, SizeIs(1));
  EXPECT_EQ(CountedAttempts(Get(0)), 0);
}

TEST_F(JobLoopTest, WithoutAReattachWindowNothingWaits) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.options.reattach_window = absl::ZeroDuration();
  world_.NewLoop();
  auto again = world_.AddWorker("w-3");
  world_.loop->Tick();
  EXPECT_THAT(again->held, SizeIs(1));
}

TEST_F(JobLoopTest, EventsGiveTheWholeStoryAndReplayToTheSameState) {
  world_.AddWorker("w", 3);
  job_ = world_.Submit(SphereSpec()).id;
  world_.Run(job_);
  const JobManager::EventBatch batch = *world_.loop->EventsAfter(job_, 0);
  JobState replayed(job_, SphereSpec());
  for (const auto& [seq, event] : batch.events) ASSERT_TRUE(replayed.Apply(seq, event).ok()) << seq;
  EXPECT_TRUE(replayed == *world_.loop->StateOf(job_));
  EXPECT_EQ(batch.job.seq, static_cast<int64_t>(batch.events.size()));
  EXPECT_THAT(world_.loop->EventsAfter(job_, batch.job.seq - 2)->events, SizeIs(2));
  EXPECT_TRUE(world_.loop->HasEventsAfter(job_, batch.job.seq));  // it is over

  const JobState before = *world_.loop->StateOf(job_);
  world_.NewLoop();
  EXPECT_TRUE(before == *world_.loop->StateOf(job_));
  EXPECT_EQ(world_.Summary(job_).dimension, 8);
}

TEST_F(JobLoopTest, ALogThatCannotBeReplayedNamesJobAndEvent) {
  job_ = world_.Submit(SphereSpec()).id;
  const int64_t epoch = world_.loop->epoch();
  ASSERT_TRUE(world_.memory.Append(epoch, job_, 2, {std::string("\xff\xff damaged")}).ok());
  world_.loop->Stop();
  JobLoop next(&world_.store, &ProtoJobCodec(), &world_.clock, nullptr, world_.options);
  const absl::Status status = next.Start();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(status.message(), HasSubstr("job-1 event 3"));
  EXPECT_FALSE(next.leading());
}

TEST_F(JobLoopTest, GenomesThatWereLoggedAreKeptWhenTheOptimizerWouldProposeOthers) {
  // The log of a machine that rounds differently: its second genome is another in the last places.
  world_.AddWorker("w", 2);
  job_ = world_.Submit(SphereSpec()).id;
  for (int i = 0; i < 100 && world_.Summary(job_).phase != JobPhase::kSearch; ++i) {
    for (auto& [id, worker] : world_.workers) (void)world_.Work(*worker);
    world_.loop->Tick();
  }
  JobManager::EventBatch batch = *world_.loop->EventsAfter(job_, 0);
  World other;
  std::vector<std::string> bytes;
  double changed = 0;
  for (auto& [seq, event] : batch.events) {
    auto* proposed = std::get_if<CandidatesProposed>(&event.body);
    const bool search = proposed != nullptr && proposed->candidates[0].kind == CandidateKind::kSearch;
    if (search) {
      double& gene = proposed->candidates[1].genome[0];
      gene = changed = gene * 0.5 + 0.2;
    }
    bytes.push_back(ProtoJobCodec().EncodeEvent(event));
    if (search) break;
  }
  ASSERT_GT(changed, 0);
  other.loop->Stop();
  const int64_t epoch = *other.memory.Lead("setup", absl::Seconds(1));
  const std::string copy =
      *other.memory.CreateJob(epoch, "", "sphere", ProtoJobCodec().EncodeSpec(SphereSpec()));
  ASSERT_TRUE(other.memory.Append(epoch, copy, 0, bytes).ok());
  ASSERT_TRUE(other.memory.ReleaseLead(epoch).ok());
  other.NewLoop();
  other.AddWorker("w", 2);
  const JobSummary job = other.Run(copy);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(other.Candidates(copy)[kFirstSearch + 1].genome[0], changed);
}

}  // namespace
}  // namespace merganser

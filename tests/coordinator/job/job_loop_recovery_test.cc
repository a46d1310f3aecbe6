// A job loop whose store is away, that is deposed, or that starts again.
#include <vector>

#include "coordinator/job/job_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/job_loop_testing.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Fault = FaultyStore::Fault;

// --- the store ---------------------------------------------------------------------------------

class StoreAwayTest : public JobLoopTest, public ::testing::WithParamInterface<Fault> {};
INSTANTIATE_TEST_SUITE_P(BeforeAndAfter, StoreAwayTest, ::testing::Values(Fault::kBefore, Fault::kAfter),
                         [](const auto& info) { return info.param == Fault::kBefore ? "BeforeApplying" : "AfterApplying"; });

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

struct StoreObserver final : JobObserver {
  void OnEvent(const std::string&, const JobEvent&) override {}
  void OnReport(Disposition) override {}
  void OnStoreCommit(absl::string_view, absl::Duration, const absl::Status& status) override { last = status; }
  void OnDispatched(absl::Duration) override {}
  absl::Status last;
};

TEST_F(JobLoopTest, AStoreThatIsAwayIsSeenThoughNoResultComesIn) {
  StoreObserver observer;
  world_.observer = &observer;
  world_.NewLoop();
  world_.store.fault = [](absl::string_view op) { return op == "renew" ? Fault::kBefore : Fault::kNone; };
  Pass(8);
  EXPECT_TRUE(absl::IsUnavailable(observer.last));
  EXPECT_THAT(world_.loop->ListJobs().status().message(), HasSubstr("the results store is away (the store is away)"));
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  Pass(2);
  EXPECT_EQ(observer.last, absl::OkStatus());
  EXPECT_EQ(world_.loop->ListJobs().status(), absl::OkStatus());
  world_.observer = nullptr;
  world_.NewLoop();
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

TEST_F(JobLoopTest, ALongReplayKeepsTheLeaseForTheRecordsThatItAdopts) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  Honest(*worker, worker->held[0]);  // recorded, and never reported
  world_.store.fault = [this](absl::string_view op) {
    if (op == "read_events") world_.clock.Advance(0.6 * world_.options.leader_lease);
    return Fault::kNone;
  };
  world_.NewLoop();
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  EXPECT_EQ(Get(0).state, CandidateState::kSucceeded);
}

TEST_F(JobLoopTest, AfterTheReattachWindowTheRestIsQueuedAgainForFree) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.workers.clear();
  world_.NewLoop();
  Pass(14);
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  Pass(1);
  EXPECT_EQ(Get(0).state, CandidateState::kQueued);
  EXPECT_EQ(CountedAttempts(Get(0)), 0);
}

TEST_F(JobLoopTest, AfterARestartAnIdleWorkerNeedNotWaitForTheWindowOfOneThatDoesNotComeBack) {
  auto worker = world_.AddWorker("w-1");
  const Assignment first = First(*worker);
  world_.workers.clear();
  world_.NewLoop();
  auto other = world_.AddWorker("w-2");
  Pass(5);
  EXPECT_THAT(other->held, IsEmpty()) << "workers are about to come back";
  Pass(2);
  ASSERT_THAT(other->held, SizeIs(1));
  world_.workers["w-1"] = worker;
  ASSERT_TRUE(world_.Connect(worker).ok());
  EXPECT_THAT(worker->disowned, IsEmpty()) << "what it runs goes on nevertheless";
  EXPECT_THAT(other->cancelled, SizeIs(1)) << "and the other one is free for what comes next";
  EXPECT_EQ(Get(0).attempts[1].message, "worker w-1 came back with the attempt that it stood in for");
  Pass(8);
  EXPECT_THAT(other->held, IsEmpty());
  EXPECT_EQ(*world_.Work(*worker), Disposition::kCommitted);
  EXPECT_EQ(CountedAttempts(Get(0)), 0);
}

TEST_F(JobLoopTest, TheReplayOfOtherJobsTakesNothingOfTheTimeInWhichWorkersComeBack) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  for (const char* name : {"b", "c", "d"}) {
    ASSERT_TRUE(world_.loop->PauseJob(world_.Submit(SphereSpec(name)).id).ok());
  }
  world_.workers.clear();
  const absl::Duration begin = world_.clock.Monotonic();
  world_.store.fault = [this](absl::string_view op) {
    if (op == "read_events") world_.clock.Advance(0.6 * world_.options.leader_lease);
    return Fault::kNone;
  };
  world_.NewLoop();
  world_.store.fault = [](absl::string_view) { return Fault::kNone; };
  ASSERT_GT(world_.clock.Monotonic() - begin, world_.options.reattach_window) << "else the replay was not long";
  auto other = world_.AddWorker("w-2");
  Pass(4);
  EXPECT_THAT(other->held, IsEmpty()) << "workers are about to come back";
  Pass(10);
  EXPECT_EQ(Get(0).state, CandidateState::kRunning);
  world_.workers["w-1"] = worker;
  ASSERT_TRUE(world_.Connect(worker).ok());
  EXPECT_THAT(worker->disowned, IsEmpty()) << "what it runs goes on";
  EXPECT_EQ(*world_.Work(*worker), Disposition::kCommitted);
}

TEST_F(JobLoopTest, WhatAWorkerComesBackWithoutIsQueuedAgainAtOnce) {
  auto worker = world_.AddWorker("w-1");
  First(*worker);
  world_.NewLoop();
  auto other = world_.AddWorker("w-2");
  worker->held.clear();  // the assignment was lost with the connection
  ASSERT_TRUE(world_.Connect(worker).ok());
  world_.loop->Tick();
  ASSERT_THAT(Get(0).attempts, SizeIs(2));
  EXPECT_EQ(Get(0).attempts[0].message, "worker w-1 came back without it");
  EXPECT_EQ(CountedAttempts(Get(0)), 0);
  EXPECT_THAT(other->held, SizeIs(1));
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
  const std::string copy = *other.memory.CreateJob(epoch, "", "sphere", ProtoJobCodec().EncodeSpec(SphereSpec()));
  ASSERT_TRUE(other.memory.Append(epoch, copy, 0, bytes).ok());
  ASSERT_TRUE(other.memory.ReleaseLead(epoch).ok());
  other.NewLoop();
  other.AddWorker("w", 2);
  const JobSummary job = other.Run(copy);
  EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;
  EXPECT_EQ(other.Candidates(copy)[kFirstSearch + 1].genome[0], changed);
}

// --- snapshots ---------------------------------------------------------------------------------

class SnapshotTest : public JobLoopTest {
 protected:
  // Two generations are finished, and the third is not proposed.
  void SetUp() override {
    world_.options.snapshot_every = 6;
    world_.NewLoop();
    world_.AddWorker("w", 6);
    job_ = world_.Submit(LongSpec()).id;
    while (world_.Summary(job_).search_finished < 12) {
      world_.loop->Tick();
      while (!world_.workers["w"]->held.empty()) ASSERT_TRUE(world_.Work(*world_.workers["w"]).ok());
    }
    saved_ = (*world_.memory.GetSnapshot(job_))->body;
  }
  static JobSpec LongSpec() {
    JobSpec spec = SphereSpec();
    spec.optimizer.name = "cma_es";
    spec.budget.candidates = 60;
    return spec;
  }
  std::vector<std::vector<double>> Genomes() {
    std::vector<std::vector<double>> genomes;
    for (const Candidate& candidate : world_.Candidates(job_)) genomes.push_back(candidate.genome);
    return genomes;
  }
  std::string saved_;
};

TEST_F(SnapshotTest, ADriverGoesOnFromItAsOneDoesThatReadTheWholeLog) {
  const JobState& state = *world_.loop->StateOf(job_);
  JobDriver read(&state), restored(&state);
  ASSERT_TRUE(restored.RestoreState(saved_).ok()) << restored.RestoreState(saved_);
  const std::vector<EventBody> events = read.Next(world_.clock.Now());
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events, restored.Next(world_.clock.Now()));
  EXPECT_EQ(read.reasked(), 12);
  EXPECT_EQ(restored.reasked(), 0);
  EXPECT_EQ(read.SaveState(), restored.SaveState());
}

TEST_F(SnapshotTest, OneOfAPopulationThatSlotsRaisedIsUsed) {
  world_.AddWorker("wide", 14);
  JobSpec spec = LongSpec();
  spec.optimizer.numbers.clear();  // no population of its own
  spec.budget.candidates = 600;
  const std::string job = world_.Submit(spec).id;
  while (world_.Summary(job).search_finished < 20) {
    world_.loop->Tick();
    for (const char* worker : {"w", "wide"}) {
      while (!world_.workers[worker]->held.empty()) ASSERT_TRUE(world_.Work(*world_.workers[worker]).ok());
    }
  }
  const JobState& state = *world_.loop->StateOf(job);
  ASSERT_EQ(state.stages()[0].population, 20) << "for the slots; the preset's own is less";
  JobDriver restored(&state);
  const absl::Status status = restored.RestoreState((*world_.memory.GetSnapshot(job))->body);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_FALSE(restored.Next(world_.clock.Now()).empty());
  EXPECT_EQ(restored.reasked(), 0);
}

TEST_F(SnapshotTest, OneThatIsDamagedOrOfAnotherVersionOrLogIsRefused) {
  const JobState& state = *world_.loop->StateOf(job_);
  const auto refused = [&](const std::string& saved) { return JobDriver(&state).RestoreState(saved); };
  ASSERT_TRUE(refused(saved_).ok());
  std::string other = saved_;
  other.replace(other.find(" 1\n"), 2, " 2");
  EXPECT_THAT(refused(other).message(), HasSubstr("begins with 'merganser search 2'"));
  for (const size_t size : {size_t{0}, size_t{5}, saved_.find('\n') + 3, saved_.size() / 2}) {
    EXPECT_TRUE(absl::IsDataLoss(refused(saved_.substr(0, size)))) << size;
  }
  // A job whose search is the same but for its seed, and one that has proposed less.
  JobSpec spec = LongSpec();
  spec.seed += 1;
  const std::string job = world_.Submit(spec).id;
  while (world_.Summary(job).search_finished < 12) {
    world_.loop->Tick();
    while (!world_.workers["w"]->held.empty()) ASSERT_TRUE(world_.Work(*world_.workers["w"]).ok());
  }
  EXPECT_THAT(JobDriver(world_.loop->StateOf(job)).RestoreState(saved_).message(), HasSubstr("of another log"));
  JobState fresh(job_, LongSpec());
  EXPECT_THAT(JobDriver(&fresh).RestoreState(saved_).message(), HasSubstr("of another log"));
}

// The whole search, started again after each generation: with snapshots, with a store that has lost them, and not at all.
TEST_F(SnapshotTest, ASearchIsTheSameWithThemAndWithoutThem) {
  const auto search = [this](bool restart, bool snapshots) {
    int used = 0;
    world_.store.fault = [&](absl::string_view operation) {
      if (operation != "get_snapshot") return Fault::kNone;
      ++used;
      return snapshots ? Fault::kNone : Fault::kBefore;
    };
    job_ = world_.Submit(LongSpec()).id;
    for (int64_t finished = 0; !world_.loop->StateOf(job_)->over();) {
      world_.loop->Tick();
      while (!world_.workers["w"]->held.empty()) EXPECT_TRUE(world_.Work(*world_.workers["w"]).ok());
      if (!restart || world_.Summary(job_).search_finished == finished) continue;
      finished = world_.Summary(job_).search_finished;
      world_.NewLoop();
      EXPECT_TRUE(world_.Connect(world_.workers["w"], 6).ok());
    }
    world_.store.fault = [](absl::string_view) { return Fault::kNone; };
    EXPECT_EQ(used > 0, restart);
    return Genomes();
  };
  const auto plain = search(false, true);
  EXPECT_EQ(plain.size(), 70u) << "five before the search, 60 of it, five held out";
  EXPECT_EQ(search(true, true), plain);
  EXPECT_EQ(search(true, false), plain);
}

}  // namespace
}  // namespace merganser

// Jobs whose log cannot be replayed: they are set aside, and the others go on.
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/store/redis/redis_store.h"
#include "common/store/sqlite/sqlite_store.h"
#include "coordinator/job/copy_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/store/redis_server.h"
#include "tests/coordinator/job/job_loop_testing.h"

namespace merganser {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class JobDamageTest : public JobLoopTest {
 protected:
  // From now on event `seq` of the job is read as something else.
  void Damage(const std::string& job, int64_t seq) {
    world_.store.damage = [job, seq](const std::string& of, std::vector<StoredEvent>* events) {
      for (StoredEvent& event : *events) {
        if (of == job && event.seq == seq) event.body = "\xff\xff damaged";
      }
      return absl::OkStatus();
    };
  }
  void Mend() { world_.store.damage = nullptr; }
  std::vector<StoredEvent> Stored(const std::string& job) { return *world_.memory.ReadEvents(job, 0, 10'000); }
  static void ExpectSetAside(const absl::Status& refused, const std::string& job) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
    EXPECT_THAT(refused.message(), AllOf(HasSubstr(absl::StrCat(job, ": its log is damaged")), HasSubstr("NEW_STORE")));
  }
};

TEST_F(JobDamageTest, ALogThatCannotBeReplayedSetsItsJobAsideAndTheOthersGoOn) {
  world_.Submit(SphereSpec("broken"));
  const std::string whole = world_.Submit(SphereSpec("whole")).id;
  Damage("job-1", 2);
  world_.NewLoop();
  world_.AddWorker("w", 2);
  const JobSummary broken = world_.Summary("broken");
  EXPECT_EQ(broken.phase, JobPhase::kDamaged);
  EXPECT_EQ(broken.seq, 1) << "what comes before the damage can be read";
  EXPECT_THAT(broken.message, HasSubstr("job-1 event 2: "));
  for (const char* command : {"`merganser store verify faulty:`", "`merganser store restore BACKUP.db NEW_STORE`",
                              "`merganser store migrate --salvage faulty: NEW_STORE`", "`merganser resume job-1`"}) {
    EXPECT_THAT(broken.message, HasSubstr(command));
  }
  EXPECT_THAT(*world_.loop->ListJobs(), SizeIs(2));
  EXPECT_EQ(world_.Run(whole).phase, JobPhase::kSucceeded);
}

TEST_F(JobDamageTest, NothingIsWrittenToADamagedLogAndChangesAreRefusedWithTheWayOut) {
  world_.Submit(SphereSpec("broken"), "r-1");
  const std::vector<StoredEvent> before = Stored("job-1");
  Damage("job-1", 2);
  world_.NewLoop();
  auto worker = world_.AddWorker("w");
  ExpectSetAside(world_.loop->CancelJob("job-1").status(), "job-1");
  ExpectSetAside(world_.loop->PauseJob("job-1").status(), "job-1");
  ExpectSetAside(world_.loop->ResumeJob("job-1").status(), "job-1");
  JobUpdate update;
  update.fields = {"budget"};
  update.values.budget.candidates = 20;
  ExpectSetAside(world_.loop->UpdateJob("job-1", update).status(), "job-1");
  const absl::Status name = world_.loop->CreateJob("r-2", SphereSpec("broken")).status();
  ExpectSetAside(name, "job-1");
  EXPECT_THAT(name.message(), AllOf(HasSubstr("name: 'broken' is taken by"), HasSubstr("submit under another name")));
  ExpectSetAside(world_.loop->CreateJob("r-1", SphereSpec("renamed")).status(), "job-1");
  ASSERT_TRUE(world_.loop->QuarantineWorker("w", absl::Minutes(1), "logged in every job that runs").ok());
  Pass(40);
  EXPECT_THAT(worker->held, IsEmpty());
  EXPECT_EQ(Stored("job-1"), before);
  EXPECT_EQ(world_.loop->CreateJob("r-3", SphereSpec("another"))->id, "job-2");
}

TEST_F(JobDamageTest, WorkersStopAndTheirRecordsCountOnceTheLogIsMendedAndResumed) {
  auto worker = world_.AddWorker("w-1", 2);
  const Assignment assigned = First(*worker);
  const AttemptReport report = Honest(*worker, assigned);
  Damage(job_, 2);
  world_.NewLoop();
  ASSERT_TRUE(world_.Connect(worker, 2).ok());
  EXPECT_THAT(worker->disowned, SizeIs(1));
  EXPECT_EQ(*world_.loop->ReportAttempt(report), Disposition::kSuperseded) << "an answer, so that the worker lets go";
  EXPECT_EQ(*world_.loop->ReportAttempts({report})[0], Disposition::kSuperseded);
  ExpectSetAside(world_.loop->ResumeJob(job_).status(), job_);
  Mend();
  EXPECT_EQ(world_.Summary(job_).phase, JobPhase::kDamaged) << "until somebody says so";
  const absl::StatusOr<JobSummary> resumed = world_.loop->ResumeJob(job_);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->phase, JobPhase::kPreparing);
  EXPECT_EQ(Get(0).state, CandidateState::kSucceeded) << "the record was there";
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
  EXPECT_EQ((world_.evaluated[{job_, 0}]), 1);
}

TEST_F(JobDamageTest, ARestartAfterTheMendingGoesOnAsWell) {
  world_.Submit(SphereSpec("broken"));
  Damage("job-1", 1);
  world_.NewLoop();
  EXPECT_EQ(world_.Summary("job-1").phase, JobPhase::kDamaged);
  Mend();
  world_.NewLoop();
  world_.AddWorker("w", 2);
  EXPECT_EQ(world_.Run("job-1").phase, JobPhase::kSucceeded);
}

TEST_F(JobDamageTest, DamageThatIsFoundLaterStopsWhatRunsOfTheJob) {
  auto worker = world_.AddWorker("w-1");
  First(*worker, SphereSpec("broken"));
  ASSERT_TRUE(world_.loop->HasLease(job_, 0));
  const std::vector<StoredEvent> before = Stored(job_);
  world_.store.damage = [this](const std::string& job, std::vector<StoredEvent>*) {
    return job == job_ ? absl::DataLossError("the page is unreadable") : absl::OkStatus();
  };
  const std::string whole = world_.Submit(SphereSpec("whole")).id;
  Pass(6);
  EXPECT_EQ(world_.Summary(job_).phase, JobPhase::kDamaged);
  EXPECT_THAT(world_.Summary(job_).message, HasSubstr("the page is unreadable"));
  EXPECT_THAT(worker->cancelled, SizeIs(1));
  EXPECT_FALSE(world_.loop->HasLease(job_, 0));
  EXPECT_TRUE(world_.loop->HasEventsAfter(job_, before.back().seq)) << "its watchers are told";
  EXPECT_EQ(world_.loop->EventsAfter(job_, before.back().seq)->job.phase, JobPhase::kDamaged);
  ASSERT_THAT(worker->held, SizeIs(1));
  EXPECT_EQ(worker->held[0].id.job_id, whole);
  EXPECT_EQ(world_.Run(whole).phase, JobPhase::kSucceeded);
  EXPECT_EQ(Stored(job_), before);
  Mend();
  ASSERT_TRUE(world_.loop->ResumeJob(job_).ok());
  EXPECT_EQ(world_.Run(job_).phase, JobPhase::kSucceeded);
}

TEST_F(JobDamageTest, ASpecThatCannotBeReadIsDamageToo) {
  const std::string id = *world_.memory.CreateJob(world_.loop->epoch(), "", "unreadable", "\xff garbage");
  world_.NewLoop();
  const JobSummary job = world_.Summary("unreadable");
  EXPECT_EQ(job.id, id);
  EXPECT_EQ(job.phase, JobPhase::kDamaged);
  EXPECT_EQ(job.create_time, world_.memory.ListJobs()->front().create_time);
  EXPECT_THAT(job.message, HasSubstr(absl::StrCat(id, " spec: ")));
  ExpectSetAside(world_.loop->ResumeJob(id).status(), id);
  EXPECT_EQ(world_.loop->EventsAfter(id, 0)->events.size(), 0u);
}

// --- every store -------------------------------------------------------------------------------

struct Kind {
  const char* name;
  // nullptr: `reason` says why it cannot be had here.
  std::function<std::unique_ptr<ResultsStore>(std::string& reason)> open;
};

absl::StatusOr<std::unique_ptr<RedisServer>>& Redis() {
  static auto* server = new absl::StatusOr<std::unique_ptr<RedisServer>>(RedisServer::Start());
  return *server;
}

class StopRedis final : public testing::Environment {
 public:
  void TearDown() override {
    if (started) Redis() = absl::CancelledError("");
  }
  static inline bool started = false;
};
const testing::Environment* const kStopRedis = testing::AddGlobalTestEnvironment(new StopRedis);

class EveryStoreDamageTest : public testing::TestWithParam<Kind> {};

TEST_P(EveryStoreDamageTest, ADamagedLogIsLeftAloneAndWhatComesBeforeTheDamageGoesOnInAnotherStore) {
  std::string reason;
  const std::unique_ptr<ResultsStore> store = GetParam().open(reason);
  if (store == nullptr) GTEST_SKIP() << reason;
  const auto start = [&](ResultsStore* at) {
    auto loop = std::make_unique<JobLoop>(at, &ProtoJobCodec(), &Clock::Real(), nullptr, JobManagerOptions());
    const absl::Status started = loop->Start();
    EXPECT_EQ(started, absl::OkStatus());
    return loop;
  };
  auto loop = start(store.get());
  const std::string broken = loop->CreateJob("r-1", SphereSpec("broken"))->id;
  const std::string whole = loop->CreateJob("r-2", SphereSpec("whole"))->id;
  const int64_t end = loop->GetJob(broken)->seq;
  ASSERT_TRUE(store->Append(loop->epoch(), broken, end, {"\xff\xff damaged", "\xff\xff more"}).ok());
  loop->Stop();

  loop = start(store.get());
  const JobSummary job = *loop->GetJob(broken);
  EXPECT_EQ(job.phase, JobPhase::kDamaged);
  EXPECT_EQ(job.seq, end);
  EXPECT_THAT(job.message, AllOf(HasSubstr(absl::StrCat(broken, " event ", end + 1, ": ")),
                                 HasSubstr(absl::StrCat("`merganser store verify ", store->uri(), "`"))));
  EXPECT_EQ(loop->CancelJob(broken).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(loop->CreateJob("r-1", SphereSpec("broken")).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(loop->CancelJob(whole)->phase, JobPhase::kCancelled);
  EXPECT_THAT(*store->ReadEvents(broken, 0, 100), SizeIs(end + 2));
  loop->Stop();

  MemoryStore mended(Clock::Real());
  ASSERT_TRUE(CopyStore(store.get(), &mended, ProtoJobCodec(), {.salvage = true}).ok());
  loop = start(&mended);
  EXPECT_EQ(loop->GetJob(broken)->phase, JobPhase::kPreparing);
  EXPECT_EQ(loop->GetJob(whole)->phase, JobPhase::kCancelled);
  EXPECT_EQ(loop->CancelJob(broken)->phase, JobPhase::kCancelled);
  loop->Stop();
}

INSTANTIATE_TEST_SUITE_P(All, EveryStoreDamageTest,
                         testing::Values(Kind{"memory",
                                              [](std::string&) { return std::make_unique<MemoryStore>(Clock::Real()); }},
                                         Kind{"sqlite",
                                              [](std::string&) -> std::unique_ptr<ResultsStore> {
                                                const std::string dir =
                                                    absl::StrCat(testing::TempDir(), "/job-damage-", getpid());
                                                std::filesystem::create_directories(dir);
                                                return SqliteStore::Open(dir + "/run.db", {}).value();
                                              }},
                                         Kind{"redis",
                                              [](std::string& reason) -> std::unique_ptr<ResultsStore> {
                                                StopRedis::started = true;
                                                if (!Redis().ok()) {
                                                  reason = Redis().status().ToString();
                                                  if (!absl::IsNotFound(Redis().status())) ADD_FAILURE() << reason;
                                                  return nullptr;
                                                }
                                                RedisOptions options;
                                                options.port = (*Redis())->port();
                                                return RedisStore::Open(options).value();
                                              }}),
                         [](const testing::TestParamInfo<Kind>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace merganser

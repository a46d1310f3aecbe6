// Stores that are copied, and logs that are damaged.
#include "coordinator/job/copy_store.h"

#include "coordinator/job/history.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CopyStoreTest : public testing::Test {
 protected:
  // A job that has run to its end, and one that is in the middle of it.
  void SetUp() override {
    auto worker = world_.AddWorker("w", 2);
    world_.Run(world_.Submit(SphereSpec("done")).id);
    world_.Submit(SphereSpec("open"));
    for (int i = 0; i < 5; ++i) {
      world_.loop->Tick();
      (void)world_.Work(*worker);
    }
  }
  absl::StatusOr<CopyStoreReport> Copy(ResultsStore& from, ResultsStore& to, bool salvage = false) {
    CopyStoreOptions options;
    options.salvage = salvage;
    return CopyStore(&from, &to, ProtoJobCodec(), options);
  }
  void ExpectSame(ResultsStore& a, ResultsStore& b) {
    const std::vector<StoredJob> jobs = *a.ListJobs(), copies = *b.ListJobs();
    ASSERT_EQ(jobs.size(), copies.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
      EXPECT_EQ(jobs[i].spec, copies[i].spec);
      EXPECT_EQ(*a.ReadEvents(jobs[i].id, 0, 10'000), *b.ReadEvents(jobs[i].id, 0, 10'000));
    }
  }
  int64_t Epoch() { return world_.loop->epoch(); }

  World world_;
  MemoryStore copy_{world_.clock};
};

TEST_F(CopyStoreTest, TheCopyHasEveryJobEventAndRecord) {
  const absl::StatusOr<CopyStoreReport> report = Copy(world_.memory, copy_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->jobs, 2);
  ExpectSame(world_.memory, copy_);
  const std::vector<StoredJob> jobs = *copy_.ListJobs();
  for (const StoredJob& job : jobs) {
    const HistoryReport checked = *CheckHistory(&copy_, ProtoJobCodec(), job);
    EXPECT_THAT(checked.findings, IsEmpty());
    EXPECT_EQ(checked.records, checked.results);
  }
}

TEST_F(CopyStoreTest, ARepeatedCopyFinishesWhatAnEarlierOneBegan) {
  ASSERT_TRUE(Copy(world_.memory, copy_).ok());
  auto worker = world_.workers["w"];
  for (int i = 0; i < 5; ++i) {
    world_.loop->Tick();
    (void)world_.Work(*worker);
  }
  ASSERT_TRUE(Copy(world_.memory, copy_).ok());
  ExpectSame(world_.memory, copy_);
}

TEST_F(CopyStoreTest, AStoreWithJobsOfItsOwnIsLeftAlone) {
  World other;
  other.Submit(SphereSpec("its-own"));
  other.loop->Stop();
  const absl::Status refused = Copy(world_.memory, other.memory).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("holds job-1 'its-own' of its own"));
}

TEST_F(CopyStoreTest, AStoreThatACoordinatorLeadsIsNotCopiedInto) {
  World other;
  EXPECT_TRUE(absl::IsUnavailable(Copy(world_.memory, other.memory).status()));
}

TEST_F(CopyStoreTest, DamageIsRefusedByNameOrLeftOutOnRequest) {
  const int64_t end = world_.Summary("job-2").seq;
  ASSERT_TRUE(world_.memory.Append(Epoch(), "job-2", end, {"\xff garbage", "\xff more"}).ok());
  const absl::Status refused = Copy(world_.memory, copy_).status();
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr(absl::StrCat("job-2 event ", end + 1)));
  EXPECT_THAT(refused.message(), HasSubstr("--salvage"));
  const absl::StatusOr<CopyStoreReport> report = Copy(world_.memory, copy_, /*salvage=*/true);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, SizeIs(1));
  EXPECT_EQ(copy_.ReadEvents("job-2", 0, 10'000)->size(), static_cast<size_t>(end));
}

TEST_F(CopyStoreTest, ASalvagedLogKeepsRecordsWhoseReportsAreBehindTheDamage) {
  // Of the open job the last result: from its event on the log is damaged.
  int64_t damaged_from = 0, candidate = 0;
  std::string key;
  const std::vector<StoredEvent> log = *world_.memory.ReadEvents("job-2", 0, 10'000);
  for (const StoredEvent& stored : log) {
    const JobEvent event = *ProtoJobCodec().DecodeEvent(stored.body);
    const auto* finished = std::get_if<CandidateFinished>(&event.body);
    if (finished == nullptr || finished->record_key.empty()) continue;
    damaged_from = stored.seq;
    candidate = finished->candidate;
    key = finished->record_key;
  }
  ASSERT_GT(damaged_from, 0);
  world_.store.damage = [&](const std::string& job, std::vector<StoredEvent>* events) {
    for (StoredEvent& event : *events) {
      if (job == "job-2" && event.seq >= damaged_from) event.body = "\xff garbage";
    }
    return absl::OkStatus();
  };
  ASSERT_TRUE(Copy(world_.store, copy_, /*salvage=*/true).ok());
  EXPECT_EQ(copy_.ReadEvents("job-2", 0, 10'000)->size(), static_cast<size_t>(damaged_from - 1));
  EXPECT_EQ(copy_.GetRecord(key).status(), absl::OkStatus());
  JobLoop next(&copy_, &ProtoJobCodec(), &world_.clock, nullptr, world_.options);
  ASSERT_TRUE(next.Start().ok());
  EXPECT_EQ(next.GetCandidate("job-2", candidate)->record_key, key) << "whoever leads the copy adopts it";
}

TEST_F(CopyStoreTest, APageThatCannotBeReadCostsNoEventBeforeTheDamage) {
  world_.store.damage = [](const std::string& job, std::vector<StoredEvent>* events) -> absl::Status {
    for (const StoredEvent& event : *events) {
      if (job == "job-2" && event.seq == 5) return absl::DataLossError("the page is torn");
    }
    return absl::OkStatus();
  };
  const absl::StatusOr<CopyStoreReport> report = Copy(world_.store, copy_, /*salvage=*/true);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_THAT(report->damage, SizeIs(1));
  EXPECT_THAT(report->damage[0], HasSubstr("job-2 event 5: the page is torn"));
  EXPECT_THAT(*copy_.ReadEvents("job-2", 0, 10'000), SizeIs(4));
}

// --- with a backup -----------------------------------------------------------------------------

class CopyWithBackupTest : public CopyStoreTest {
 protected:
  // The backup is of the open job as SetUp leaves it; the job goes on after it.
  void SetUp() override {
    CopyStoreTest::SetUp();
    ASSERT_TRUE(Copy(world_.memory, backup_).ok());
    backed_up_ = world_.Summary("job-2").seq;
    for (int i = 0; i < 3; ++i) {
      world_.loop->Tick();
      (void)world_.Work(*world_.workers["w"]);
    }
    end_ = world_.Summary("job-2").seq;
    ASSERT_GT(end_, backed_up_);
  }
  // From now on the store gives these events of the open job damaged.
  void Damage(int64_t from, int64_t to) {
    world_.store.damage = [from, to](const std::string& job, std::vector<StoredEvent>* events) {
      for (StoredEvent& event : *events) {
        if (job == "job-2" && event.seq >= from && event.seq <= to) event.body = "\xff garbage";
      }
      return absl::OkStatus();
    };
  }
  absl::StatusOr<CopyStoreReport> Mend() {
    return CopyStore(&world_.store, &copy_, ProtoJobCodec(), {.salvage = true, .backup = &backup_});
  }

  MemoryStore backup_{world_.clock};
  int64_t backed_up_ = 0, end_ = 0;
};

TEST_F(CopyWithBackupTest, DamagedEventsComeFromItAndWhatFollowsFromTheStore) {
  Damage(4, 6);
  const absl::StatusOr<CopyStoreReport> report = Mend();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, IsEmpty());
  EXPECT_THAT(report->mended, SizeIs(3));
  EXPECT_THAT(report->mended[0], HasSubstr("job-2 event 4: "));
  ExpectSame(world_.memory, copy_);
}

TEST_F(CopyWithBackupTest, EventsThatAreGoneOrCannotBeReadAreDamageToo) {
  world_.store.damage = [](const std::string& job, std::vector<StoredEvent>* events) -> absl::Status {
    if (job != "job-2" || events->empty()) return absl::OkStatus();
    std::erase_if(*events, [](const StoredEvent& event) { return event.seq == 3; });
    for (const StoredEvent& event : *events) {
      if (event.seq == 5) return absl::DataLossError("the page is torn");
    }
    return absl::OkStatus();
  };
  const absl::StatusOr<CopyStoreReport> report = Mend();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, IsEmpty());
  ExpectSame(world_.memory, copy_);
}

TEST_F(CopyWithBackupTest, WhatItDoesNotHaveIsLeftOut) {
  Damage(backed_up_ + 1, backed_up_ + 1);
  const absl::StatusOr<CopyStoreReport> report = Mend();
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_THAT(report->damage, SizeIs(1));
  EXPECT_THAT(report->damage[0], HasSubstr("the backup ends before it"));
  EXPECT_EQ(copy_.ReadEvents("job-2", 0, 10'000)->size(), static_cast<size_t>(backed_up_));
}

TEST_F(CopyWithBackupTest, ABackupThatIsDamagedTooCostsThatLogAlone) {
  Damage(4, 6);
  FaultyStore torn(&backup_);
  torn.damage = [](const std::string&, std::vector<StoredEvent>* events) -> absl::Status {
    return events->empty() ? absl::OkStatus() : absl::DataLossError("the disk is bad");
  };
  const absl::StatusOr<CopyStoreReport> report =
      CopyStore(&world_.store, &copy_, ProtoJobCodec(), {.salvage = true, .backup = &torn});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->jobs, 2);
  ASSERT_THAT(report->damage, SizeIs(1));
  EXPECT_THAT(report->damage[0], HasSubstr("job-2 event 4: "));
  EXPECT_THAT(report->damage[0], HasSubstr("nor can the backup's be read: the disk is bad"));
  EXPECT_EQ(*copy_.ReadEvents("job-1", 0, 10'000), *world_.memory.ReadEvents("job-1", 0, 10'000));
}

TEST_F(CopyWithBackupTest, AnEventThatChangedAndStillReadsComesFromItToo) {
  world_.store.damage = [this](const std::string& job, std::vector<StoredEvent>* events) {
    for (StoredEvent& stored : *events) {
      JobEvent event = *ProtoJobCodec().DecodeEvent(stored.body);
      auto* const started = std::get_if<AttemptStarted>(&event.body);
      if (job != "job-2" || started == nullptr || stored.seq > backed_up_) continue;
      started->worker[0] ^= 1;  // one bit
      stored.body = ProtoJobCodec().EncodeEvent(event);
      break;
    }
    return absl::OkStatus();
  };
  const absl::StatusOr<CopyStoreReport> report = Mend();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, IsEmpty());
  ASSERT_THAT(report->mended, SizeIs(1));
  EXPECT_THAT(report->mended[0], HasSubstr("it differs from the backup's"));
  ExpectSame(world_.memory, copy_);
}

TEST_F(CopyWithBackupTest, ASpecThatCannotBeReadAndARecordThatChangedComeFromItToo) {
  MemoryStore broken(world_.clock);
  const int64_t epoch = *broken.Lead("test", absl::Minutes(1));
  ASSERT_EQ(*broken.CreateJob(epoch, "", "done", "\xff garbage"), "job-1");
  std::vector<std::string> bodies;
  const std::vector<StoredEvent> log = *world_.memory.ReadEvents("job-1", 0, 10'000);
  for (const StoredEvent& event : log) bodies.push_back(event.body);
  const std::string record = world_.Candidates("job-1")[1].record_key;
  ASSERT_TRUE(broken.PutRecord(record, "other bytes").ok());
  ASSERT_TRUE(broken.Append(epoch, "job-1", 0, bodies, {}).ok());
  const absl::StatusOr<CopyStoreReport> report =
      CopyStore(&broken, &copy_, ProtoJobCodec(), {.salvage = true, .backup = &backup_});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->damage, IsEmpty());
  ASSERT_THAT(report->mended, SizeIs(1));
  EXPECT_THAT(report->mended[0], HasSubstr("job-1 spec: "));
  EXPECT_EQ(copy_.ListJobs()->at(0).spec, world_.memory.ListJobs()->at(0).spec);
  EXPECT_EQ(*copy_.ReadEvents("job-1", 0, 10'000), log);
  EXPECT_EQ(*copy_.GetRecord(record), *world_.memory.GetRecord(record));
}

TEST_F(CopyWithBackupTest, ALogThatIsAnotherIsNotMixedIn) {
  World other;  // its jobs have the same numbers and specs, and other tokens
  auto worker = other.AddWorker("x", 2);
  other.Run(other.Submit(SphereSpec("done")).id);
  other.Submit(SphereSpec("open"));
  for (int i = 0; i < 5; ++i) {
    other.loop->Tick();
    (void)other.Work(*worker);
  }
  Damage(6, 6);
  const absl::StatusOr<CopyStoreReport> report =
      CopyStore(&world_.store, &copy_, ProtoJobCodec(), {.salvage = true, .backup = &other.memory});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->mended, IsEmpty());
  ASSERT_THAT(report->damage, SizeIs(1));
  EXPECT_THAT(report->damage[0], HasSubstr("the backup has another log of that job"));
}

}  // namespace
}  // namespace merganser

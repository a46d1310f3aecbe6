#include "tests/contracts/results_store_contract.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/domain/limits.h"
#include "gmock/gmock.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::Duration kLong = absl::Hours(1);

std::vector<std::string> Bodies(int first, int count) {
  std::vector<std::string> events;
  for (int i = 0; i < count; ++i) events.push_back(absl::StrCat("event ", first + i));
  return events;
}

std::string AllBytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes + std::string(3, '\0') + "\r\n$5\r\n";  // and what looks like Redis' own protocol
}

}  // namespace

void ResultsStoreContract::SetUp() {
  std::string reason;
  world_ = GetParam().make(reason);
  if (world_ == nullptr) GTEST_SKIP() << reason;
}

int64_t ResultsStoreContract::MustLead(const std::string& holder) {
  const absl::StatusOr<int64_t> epoch = store().Lead(holder, kLong);
  EXPECT_TRUE(epoch.ok()) << epoch.status();
  return epoch.value_or(-1);
}

int64_t ResultsStoreContract::LeadWhenFree(const std::string& holder, absl::Duration lease) {
  const absl::Time give_up = absl::Now() + absl::Minutes(1);
  absl::StatusOr<int64_t> epoch = store().Lead(holder, kLong);
  while (absl::IsUnavailable(epoch.status()) && absl::Now() < give_up) {
    world_->Advance(lease);
    epoch = store().Lead(holder, kLong);
  }
  EXPECT_TRUE(epoch.ok()) << epoch.status();
  return epoch.value_or(-1);
}

std::string ResultsStoreContract::MustCreateJob(int64_t epoch, const std::string& name) {
  const absl::StatusOr<std::string> id = store().CreateJob(epoch, "", name, "spec of " + name);
  EXPECT_TRUE(id.ok()) << id.status();
  return id.value_or("");
}

// --- who leads ---

TEST_P(ResultsStoreContract, OnlyOneLeadsAndTheRefusalNamesIt) {
  EXPECT_EQ(MustLead("coordinator-a"), 1);
  const auto second = store().Lead("coordinator-b", kLong);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("coordinator-a"));
}

TEST_P(ResultsStoreContract, AnExpiredLeaseIsTakenOverUnderTheNextEpoch) {
  const absl::Duration lease = absl::Milliseconds(50);
  ASSERT_EQ(store().Lead("a", lease).value(), 1);
  EXPECT_EQ(LeadWhenFree("b", lease), 2);
  EXPECT_EQ(store().RenewLead(1, kLong).code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(store().RenewLead(2, kLong).ok());
}

TEST_P(ResultsStoreContract, ARenewedLeaseOutlivesItsFirstLength) {
  ASSERT_TRUE(store().Lead("a", absl::Milliseconds(50)).ok());
  ASSERT_TRUE(store().RenewLead(1, kLong).ok());
  const absl::Time past_first = absl::Now() + absl::Milliseconds(60);
  world_->Advance(absl::Milliseconds(60));
  do {
    ASSERT_EQ(store().Lead("b", kLong).status().code(), absl::StatusCode::kUnavailable);
  } while (absl::Now() < past_first);
}

TEST_P(ResultsStoreContract, AnExpiredLeaderWithoutRivalGoesOn) {
  ASSERT_TRUE(store().Lead("a", absl::Milliseconds(1)).ok());
  world_->Advance(absl::Milliseconds(10));
  const std::string job = MustCreateJob(1);
  EXPECT_TRUE(store().Append(1, job, 0, Bodies(1, 1)).ok());
  EXPECT_TRUE(store().RenewLead(1, kLong).ok());
  EXPECT_TRUE(absl::IsUnavailable(store().Lead("b", kLong).status()));
}

TEST_P(ResultsStoreContract, AReleasedLeadIsFreeAtOnce) {
  ASSERT_EQ(MustLead("a"), 1);
  EXPECT_TRUE(store().ReleaseLead(1).ok());
  EXPECT_EQ(MustLead("b"), 2);
  EXPECT_TRUE(store().ReleaseLead(1).ok()) << "a lead that was lost already";
  EXPECT_TRUE(absl::IsUnavailable(store().Lead("c", kLong).status())) << "b leads still";
}

TEST_P(ResultsStoreContract, EveryWriteOfAnOldEpochIsRefused) {
  ASSERT_EQ(MustLead("a"), 1);
  const std::string job = MustCreateJob(1);
  ASSERT_TRUE(store().Append(1, job, 0, Bodies(1, 1)).ok());
  ASSERT_TRUE(store().ReleaseLead(1).ok());
  ASSERT_EQ(MustLead("b"), 2);

  for (const int64_t epoch : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{3}}) {
    SCOPED_TRACE(epoch);
    const absl::Status append = store().Append(epoch, job, 1, Bodies(2, 1));
    EXPECT_EQ(append.code(), absl::StatusCode::kAborted);
    EXPECT_THAT(append.message(), HasSubstr(absl::StrCat("epoch ", epoch, " does not lead")));
    EXPECT_TRUE(absl::IsAborted(store().CreateJob(epoch, "", "x", "y").status()));
    EXPECT_TRUE(absl::IsAborted(store().PutSnapshot(epoch, job, {1, "state"})));
    EXPECT_TRUE(absl::IsAborted(store().PutFleet(epoch, "fleet")));
    EXPECT_TRUE(absl::IsAborted(store().RenewLead(epoch, kLong)));
  }
  EXPECT_EQ(store().ReadEvents(job, 0, 10)->size(), 1u);
  EXPECT_EQ(store().ListJobs()->size(), 1u);
  EXPECT_FALSE(store().GetSnapshot(job)->has_value());
}

TEST_P(ResultsStoreContract, EpochZeroDoesNotWriteBeforeAnyoneLed) {
  EXPECT_TRUE(absl::IsAborted(store().CreateJob(0, "", "x", "y").status()));
  EXPECT_TRUE(absl::IsAborted(store().RenewLead(0, kLong)));
}

TEST_P(ResultsStoreContract, OneOfManyRacersLeads) {
  std::atomic<int> leaders = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const auto epoch = store().Lead(absl::StrCat("racer-", i), kLong);
      if (epoch.ok()) ++leaders;
      if (absl::IsUnavailable(epoch.status())) ++refused;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(leaders, 1);
  EXPECT_EQ(refused, 7);
}

// --- fleet ---

TEST_P(ResultsStoreContract, WhatALeaderKeepsOfItsFleetOutlivesItAndNeedsNoJob) {
  EXPECT_EQ(*store().GetFleet(), "");
  ASSERT_EQ(MustLead("a"), 1);
  ASSERT_TRUE(store().PutFleet(1, "first").ok());
  ASSERT_TRUE(store().PutFleet(1, AllBytes()).ok()) << "it replaces what was there";
  EXPECT_EQ(*store().GetFleet(), AllBytes());
  ASSERT_TRUE(store().ReleaseLead(1).ok());
  if (world_->Reopen()) {
    EXPECT_EQ(*store().GetFleet(), AllBytes());
  }
  ASSERT_EQ(MustLead("b"), 2);
  EXPECT_TRUE(absl::IsAborted(store().PutFleet(1, "of an old leader")));
  EXPECT_EQ(*store().GetFleet(), AllBytes());
  ASSERT_TRUE(store().PutFleet(2, "").ok());
  EXPECT_EQ(*store().GetFleet(), "");
}

// --- jobs ---

TEST_P(ResultsStoreContract, JobsAreNumberedAndListedOldestFirst) {
  MustLead();
  for (int i = 1; i <= 11; ++i) {
    EXPECT_EQ(MustCreateJob(1, absl::StrCat("name ", i)), absl::StrCat("job-", i));
  }
  const auto jobs = store().ListJobs();
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_EQ(jobs->size(), 11u);
  for (int i = 1; i <= 11; ++i) {
    EXPECT_EQ((*jobs)[i - 1].id, absl::StrCat("job-", i));
    EXPECT_EQ((*jobs)[i - 1].name, absl::StrCat("name ", i));
    EXPECT_EQ((*jobs)[i - 1].spec, absl::StrCat("spec of name ", i));
    EXPECT_GT((*jobs)[i - 1].create_time, absl::UnixEpoch());
  }
}

TEST_P(ResultsStoreContract, ARequestIdMakesOneJobAlsoUnderALaterEpoch) {
  MustLead();
  ASSERT_EQ(store().CreateJob(1, "request-1", "a", AllBytes()).value(), "job-1");
  EXPECT_EQ(store().CreateJob(1, "request-1", "a", AllBytes()).value(), "job-1");
  EXPECT_EQ(store().CreateJob(1, "request-2", "b", "").value(), "job-2");
  ASSERT_TRUE(store().ReleaseLead(1).ok());
  ASSERT_EQ(MustLead("b"), 2);
  EXPECT_EQ(store().CreateJob(2, "request-1", "a", AllBytes()).value(), "job-1");
  const auto jobs = store().ListJobs();
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].spec, AllBytes());
  EXPECT_EQ((*jobs)[1].spec, "");
}

TEST_P(ResultsStoreContract, UnknownJobsAreNotFoundAndNamed) {
  MustLead();
  MustCreateJob(1);
  for (const char* id : {"job-2", "job-01", "job-", "", "job-1x", "-1", "job--1"}) {
    SCOPED_TRACE(id);
    const absl::Status append = store().Append(1, id, 0, Bodies(1, 1));
    EXPECT_EQ(append.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(append.message(), HasSubstr(absl::StrCat("no job '", id, "'")));
    EXPECT_TRUE(absl::IsNotFound(store().ReadEvents(id, 0, 1).status()));
    EXPECT_TRUE(absl::IsNotFound(store().PutSnapshot(1, id, {1, "x"})));
    EXPECT_TRUE(absl::IsNotFound(store().GetSnapshot(id).status()));
  }
}

// --- the log ---

TEST_P(ResultsStoreContract, EventsComeBackInOrderByPages) {
  MustLead();
  const std::string job = MustCreateJob(1), other = MustCreateJob(1);
  ASSERT_TRUE(store().Append(1, job, 0, Bodies(1, 3)).ok());
  ASSERT_TRUE(store().Append(1, other, 0, {"of another job"}).ok());
  ASSERT_TRUE(store().Append(1, job, 3, Bodies(4, 2)).ok());

  const StoredEvent e1{1, "event 1"}, e2{2, "event 2"}, e3{3, "event 3"}, e4{4, "event 4"}, e5{5, "event 5"};
  EXPECT_THAT(*store().ReadEvents(job, 0, 100), ElementsAre(e1, e2, e3, e4, e5));
  EXPECT_THAT(*store().ReadEvents(job, 0, 2), ElementsAre(e1, e2));
  EXPECT_THAT(*store().ReadEvents(job, 2, 2), ElementsAre(e3, e4));
  EXPECT_THAT(*store().ReadEvents(job, 4, 2), ElementsAre(e5));
  EXPECT_THAT(*store().ReadEvents(job, 5, 2), IsEmpty());
  EXPECT_THAT(*store().ReadEvents(job, 99, 2), IsEmpty());
  EXPECT_THAT(*store().ReadEvents(job, 0, 0), IsEmpty());
}

TEST_P(ResultsStoreContract, EventsHoldAnyBytes) {
  MustLead();
  const std::string job = MustCreateJob(1);
  const std::vector<std::string> events = {AllBytes(), "", std::string(1, '\0'), std::string(1 << 20, 'x')};
  ASSERT_TRUE(store().Append(1, job, 0, events).ok());
  EXPECT_TRUE(store().Append(1, job, 0, events).ok()) << "repeat";
  const auto read = store().ReadEvents(job, 0, 10);
  ASSERT_EQ(read->size(), events.size());
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ((*read)[i].body, events[i]) << i;
}

TEST_P(ResultsStoreContract, ARepeatedAppendIsOkAndChangesNothing) {
  MustLead();
  const std::string job = MustCreateJob(1);
  ASSERT_TRUE(store().Append(1, job, 0, Bodies(1, 3)).ok());
  EXPECT_TRUE(store().Append(1, job, 0, Bodies(1, 3)).ok());
  EXPECT_TRUE(store().Append(1, job, 1, Bodies(2, 1)).ok()) << "from the middle";
  EXPECT_TRUE(store().Append(1, job, 3, {}).ok()) << "nothing";
  EXPECT_TRUE(store().Append(1, job, 1, {}).ok()) << "nothing, from the middle";
  EXPECT_EQ(store().ReadEvents(job, 0, 10)->size(), 3u);
}

TEST_P(ResultsStoreContract, AnAppendThatDiffersFromTheLogOrOverlapsItsEndIsAborted) {
  MustLead();
  const std::string job = MustCreateJob(1);
  ASSERT_TRUE(store().Append(1, job, 0, Bodies(1, 3)).ok());
  struct Case {
    const char* what;
    int64_t expected_seq;
    std::vector<std::string> events;
  };
  for (const Case& c : {Case{"other event", 2, {"another"}}, Case{"second differs", 1, {"event 2", "another"}},
                        Case{"partial repeat and more", 2, Bodies(3, 2)}, Case{"a prefix only", 0, {"event"}}}) {
    SCOPED_TRACE(c.what);
    const absl::Status status = store().Append(1, job, c.expected_seq, c.events);
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_THAT(status.message(), HasSubstr("the log of job-1 ends at 3"));
  }
  EXPECT_EQ(store().ReadEvents(job, 0, 10)->size(), 3u);
}

TEST_P(ResultsStoreContract, AnAppendBeyondTheEndIsOutOfRange) {
  MustLead();
  const std::string job = MustCreateJob(1);
  ASSERT_TRUE(store().Append(1, job, 0, Bodies(1, 2)).ok());
  const absl::Status gap = store().Append(1, job, 3, Bodies(4, 1));
  EXPECT_EQ(gap.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(gap.message(), HasSubstr("after event 3, but its log ends at 2"));
  EXPECT_TRUE(absl::IsOutOfRange(store().Append(1, job, -1, Bodies(1, 1))));
  EXPECT_EQ(store().ReadEvents(job, 0, 10)->size(), 2u);
}

TEST_P(ResultsStoreContract, OfRacingAppendsExactlyOneWinsEachSeq) {
  MustLead();
  const std::string job = MustCreateJob(1);
  constexpr int kThreads = 16, kSeqs = 20;
  std::vector<std::atomic<int>> winners(kSeqs);
  std::vector<std::atomic<int>> winner_of(kSeqs);
  std::atomic<int> unexpected = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int seq = 0; seq < kSeqs; ++seq) {
        const std::vector<std::string> mine = {absl::StrCat(t, " at ", seq)};
        const absl::Status status = store().Append(1, job, seq, mine);
        if (status.ok()) {
          ++winners[seq];
          winner_of[seq] = t;
        } else if (!absl::IsAborted(status)) {
          ++unexpected;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(unexpected, 0);
  const auto events = store().ReadEvents(job, 0, 1000);
  ASSERT_EQ(events->size(), static_cast<size_t>(kSeqs));
  for (int seq = 0; seq < kSeqs; ++seq) {
    EXPECT_EQ(winners[seq], 1) << seq;
    EXPECT_EQ((*events)[seq].body, absl::StrCat(winner_of[seq].load(), " at ", seq));
  }
}

TEST_P(ResultsStoreContract, AHundredThousandEventsReplay) {
  MustLead();
  const std::string job = MustCreateJob(1);
  constexpr int kEvents = 100'000, kBatch = 2'000, kPage = 5'000;
  for (int seq = 0; seq < kEvents; seq += kBatch) {
    ASSERT_TRUE(store().Append(1, job, seq, Bodies(seq + 1, kBatch)).ok());
  }
  int64_t seq = 0;
  for (;;) {
    const auto page = store().ReadEvents(job, seq, kPage);
    ASSERT_TRUE(page.ok()) << page.status();
    if (page->empty()) break;
    for (const StoredEvent& event : *page) {
      ++seq;
      ASSERT_EQ(event.seq, seq);
      ASSERT_EQ(event.body, absl::StrCat("event ", seq));
    }
  }
  EXPECT_EQ(seq, kEvents);
}

// --- records ---

TEST_P(ResultsStoreContract, ARecordIsCreatedOnceAndTheFirstBytesStay) {
  const std::string key = RecordKey("job-1", 7, 2, "0123abcd");
  EXPECT_EQ(key, "result:{job-1}:7:2:0123abcd");
  const auto absent = store().GetRecord(key);
  EXPECT_EQ(absent.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(absent.status().message(), HasSubstr(key));

  EXPECT_TRUE(store().PutRecord(key, AllBytes()).ok()) << "without any leader";
  EXPECT_TRUE(store().PutRecord(key, AllBytes()).ok()) << "repeat";
  const absl::Status other = store().PutRecord(key, "other bytes");
  EXPECT_EQ(other.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(other.message(), HasSubstr(key));
  EXPECT_EQ(store().GetRecord(key).value(), AllBytes());
}

TEST_P(ResultsStoreContract, RecordsMayBeEmptyOrLarge) {
  const std::string empty = RecordKey("job-1", 1, 1, "t"), large = RecordKey("job-1", 2, 1, "t");
  std::string bytes(16 << 20, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 24);
  EXPECT_TRUE(store().PutRecord(empty, "").ok());
  ASSERT_TRUE(store().PutRecord(large, bytes).ok());
  EXPECT_EQ(store().GetRecord(empty).value(), "");
  EXPECT_TRUE(store().GetRecord(large).value() == bytes);
}

TEST_P(ResultsStoreContract, ARecordAboveTheBoundIsRefused) {
  const std::string bytes(limits::kRecordBytesMax + 1, 'x');
  const absl::Status status = store().PutRecord("result:{job-1}:1:1:t", bytes);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("67108865 bytes, above the bound of 67108864"));
  EXPECT_TRUE(absl::IsNotFound(store().GetRecord("result:{job-1}:1:1:t").status()));
}

TEST_P(ResultsStoreContract, AnEventThatNeedsARecordWaitsForIt) {
  MustLead();
  const std::string job = MustCreateJob(1);
  const std::string key = RecordKey(job, 1, 1, "token");
  const absl::Status early = store().Append(1, job, 0, Bodies(1, 1), {key});
  EXPECT_EQ(early.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(early.message(), HasSubstr(key));
  EXPECT_THAT(*store().ReadEvents(job, 0, 10), IsEmpty());
  ASSERT_TRUE(store().PutRecord(key, "result").ok());
  EXPECT_TRUE(store().Append(1, job, 0, Bodies(1, 1), {key}).ok());
  EXPECT_TRUE(store().Append(1, job, 0, Bodies(1, 1), {key}).ok()) << "repeat";
  EXPECT_EQ(store().ReadEvents(job, 0, 10)->size(), 1u);
}

TEST_P(ResultsStoreContract, OfRacingRecordsOneIsKept) {
  const std::string key = RecordKey("job-1", 1, 1, "token");
  std::atomic<int> created = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      const absl::Status status = store().PutRecord(key, absl::StrCat("of ", t));
      if (status.ok()) ++created;
      if (absl::IsAlreadyExists(status)) ++refused;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(created, 1);
  EXPECT_EQ(refused, 15);
}

// --- snapshots ---

TEST_P(ResultsStoreContract, ASnapshotIsReplacedByALaterOneOnly) {
  MustLead();
  const std::string job = MustCreateJob(1), other = MustCreateJob(1);
  EXPECT_FALSE(store().GetSnapshot(job)->has_value());
  ASSERT_TRUE(store().PutSnapshot(1, job, {10, AllBytes()}).ok());
  EXPECT_TRUE(store().PutSnapshot(1, job, {9, "older"}).ok());
  EXPECT_TRUE(store().PutSnapshot(1, job, {10, "same seq"}).ok());
  auto snapshot = store().GetSnapshot(job);
  ASSERT_TRUE(snapshot.ok() && snapshot->has_value());
  EXPECT_EQ((*snapshot)->seq, 10);
  EXPECT_EQ((*snapshot)->body, AllBytes());
  ASSERT_TRUE(store().PutSnapshot(1, job, {11, "newer"}).ok());
  EXPECT_EQ((*store().GetSnapshot(job))->body, "newer");
  EXPECT_FALSE(store().GetSnapshot(other)->has_value());
}

TEST_P(ResultsStoreContract, EventsThatNeedSeveralRecordsWaitForAllOfThem) {
  MustLead();
  const std::string job = MustCreateJob(1);
  const std::string first = RecordKey(job, 1, 1, "token"), second = RecordKey(job, 2, 1, "token");
  ASSERT_TRUE(store().PutRecord(first, "result").ok());
  const absl::Status early = store().Append(1, job, 0, Bodies(1, 2), {first, second});
  EXPECT_EQ(early.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(early.message(), HasSubstr(second));
  EXPECT_THAT(*store().ReadEvents(job, 0, 10), IsEmpty());
  ASSERT_TRUE(store().PutRecord(second, "result").ok());
  EXPECT_TRUE(store().Append(1, job, 0, Bodies(1, 2), {first, second}).ok());
}

TEST_P(ResultsStoreContract, SeveralRecordsAreReadInTheOrderOfTheirKeys) {
  std::vector<std::string> keys;
  for (int i = 0; i < 150; ++i) {
    keys.push_back(RecordKey("job-1", i, 1, "t"));
    if (i % 3 != 0) {
      ASSERT_TRUE(store().PutRecord(keys.back(), absl::StrCat("record ", i)).ok());
    }
  }
  const auto records = store().GetRecords(keys);
  ASSERT_EQ(records.size(), keys.size());
  for (int i = 0; i < 150; ++i) {
    if (i % 3 == 0) {
      EXPECT_TRUE(absl::IsNotFound(records[i].status())) << i;
    } else {
      EXPECT_EQ(records[i].value(), absl::StrCat("record ", i));
    }
  }
  EXPECT_TRUE(store().GetRecords({}).empty());
}

// --- reopening ---

TEST_P(ResultsStoreContract, EverythingIsThereAfterReopening) {
  MustLead();
  const std::string job = store().CreateJob(1, "request-1", "name", AllBytes()).value();
  const std::string key = RecordKey(job, 1, 1, "token");
  ASSERT_TRUE(store().PutRecord(key, AllBytes()).ok());
  ASSERT_TRUE(store().Append(1, job, 0, {AllBytes(), ""}, {key}).ok());
  ASSERT_TRUE(store().PutSnapshot(1, job, {2, "state"}).ok());
  const absl::Time created = store().ListJobs()->at(0).create_time;
  ASSERT_TRUE(store().ReleaseLead(1).ok());

  if (!world_->Reopen()) GTEST_SKIP() << GetParam().name << " keeps nothing";

  EXPECT_EQ(MustLead("b"), 2) << "epochs go on";
  EXPECT_TRUE(absl::IsAborted(store().Append(1, job, 2, Bodies(3, 1))));
  const auto jobs = store().ListJobs();
  ASSERT_EQ(jobs->size(), 1u);
  EXPECT_EQ((*jobs)[0].id, job);
  EXPECT_EQ((*jobs)[0].name, "name");
  EXPECT_EQ((*jobs)[0].spec, AllBytes());
  EXPECT_EQ((*jobs)[0].create_time, created);
  EXPECT_EQ(store().GetRecord(key).value(), AllBytes());
  EXPECT_THAT(*store().ReadEvents(job, 0, 10), ElementsAre(StoredEvent{1, AllBytes()}, StoredEvent{2, ""}));
  EXPECT_EQ((*store().GetSnapshot(job))->body, "state");
  EXPECT_EQ(store().CreateJob(2, "request-1", "name", "").value(), job);
  EXPECT_EQ(MustCreateJob(2), "job-2");
}

}  // namespace merganser

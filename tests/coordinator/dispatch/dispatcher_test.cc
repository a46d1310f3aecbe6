#include "coordinator/dispatch/dispatcher.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

DispatchJob Queue(const std::string& id, std::vector<int64_t> numbers) {
  DispatchJob job{.id = id};
  for (int64_t number : numbers) job.queued.push_back({number, ""});
  return job;
}
DispatchChoice Choice(const std::string& job, int64_t candidate, const std::string& worker) {
  return {job, candidate, worker};
}

TEST(DispatcherTest, IdleSlotsAreFilledBeforePrefetchPlaces) {
  Dispatcher dispatcher;
  EXPECT_THAT(
      dispatcher.Plan({Queue("j", {1, 2, 3, 4, 5})}, {{"a", 1, 2, 0}, {"b", 2, 3, 0}}),
      ElementsAre(Choice("j", 1, "b"), Choice("j", 2, "a"), Choice("j", 3, "b"), Choice("j", 4, "a"), Choice("j", 5, "b")));
}

TEST(DispatcherTest, FullWorkersGetNothing) {
  Dispatcher dispatcher;
  EXPECT_THAT(dispatcher.Plan({Queue("j", {1})}, {{"a", 1, 2, 2}}), IsEmpty());
  EXPECT_THAT(dispatcher.Plan({Queue("j", {1})}, {}), IsEmpty());
  EXPECT_THAT(dispatcher.Plan({}, {{"a", 1, 2, 0}}), IsEmpty());
}

TEST(DispatcherTest, JobsTakeTurnsAcrossPlans) {
  Dispatcher dispatcher;
  const std::vector<DispatchJob> jobs = {Queue("j1", {1, 2, 3}), Queue("j2", {7, 8})};
  EXPECT_THAT(dispatcher.Plan(jobs, {{"a", 3, 3, 0}}),
              ElementsAre(Choice("j1", 1, "a"), Choice("j2", 7, "a"), Choice("j1", 2, "a")));
  EXPECT_THAT(dispatcher.Plan(jobs, {{"a", 1, 1, 0}}), ElementsAre(Choice("j2", 7, "a")));
}

TEST(DispatcherTest, AnEmptyJobDoesNotStopTheOthers) {
  Dispatcher dispatcher;
  EXPECT_THAT(dispatcher.Plan({Queue("j1", {}), Queue("j2", {7, 8})}, {{"a", 2, 2, 0}}),
              ElementsAre(Choice("j2", 7, "a"), Choice("j2", 8, "a")));
}

TEST(DispatcherTest, ALostCandidateGoesToAnotherWorkerOrWaitsForOne) {
  Dispatcher dispatcher;
  DispatchJob job = Queue("j", {1, 2});
  job.queued[0].avoid = "a";
  EXPECT_THAT(dispatcher.Plan({job}, {{"a", 1, 1, 0}, {"b", 1, 1, 0}}),
              ElementsAre(Choice("j", 1, "b"), Choice("j", 2, "a")));
  // b is busy: candidate 1 waits for it, candidate 2 need not.
  EXPECT_THAT(dispatcher.Plan({job}, {{"a", 1, 1, 0}, {"b", 1, 1, 1}}), ElementsAre(Choice("j", 2, "a")));
}

TEST(DispatcherTest, TheOnlyWorkerGetsALostCandidateBack) {
  Dispatcher dispatcher;
  DispatchJob job = Queue("j", {1});
  job.queued[0].avoid = "a";
  EXPECT_THAT(dispatcher.Plan({job}, {{"a", 1, 1, 0}}), ElementsAre(Choice("j", 1, "a")));
}

TEST(DispatcherTest, HigherPriorityGoesFirstAndAgeingStarvesNobody) {
  Dispatcher dispatcher;
  DispatchJob low = Queue("low", {1, 2}), high = Queue("high", {7, 8});
  high.priority = 2;
  EXPECT_THAT(dispatcher.Plan({low, high}, {{"a", 3, 3, 0}}),
              ElementsAre(Choice("high", 7, "a"), Choice("high", 8, "a"), Choice("low", 1, "a")));
  low.waited = absl::Minutes(2);  // as urgent now; both run nothing, and it has not been served
  low.running = 0;
  high.running = 5;
  EXPECT_THAT(dispatcher.Plan({low, high}, {{"a", 1, 1, 0}}), ElementsAre(Choice("low", 1, "a")));
  low.waited = absl::Minutes(3);
  high.running = 0;
  // Once it is served it is young again.
  EXPECT_THAT(dispatcher.Plan({low, high}, {{"a", 2, 2, 0}}), ElementsAre(Choice("low", 1, "a"), Choice("high", 7, "a")));
}

TEST(DispatcherTest, JobsOfOnePriorityRunInProportionToTheirShares) {
  Dispatcher dispatcher;
  DispatchJob small = Queue("small", {1, 2, 3, 4, 5, 6}), large = Queue("large", {11, 12, 13, 14, 15, 16});
  large.share = 3;
  int large_ones = 0;
  for (const DispatchChoice& choice : dispatcher.Plan({small, large}, {{"a", 8, 8, 0}}))
    large_ones += choice.job_id == "large";
  EXPECT_EQ(large_ones, 6);
  small.running = 4;  // it has more than its part already
  EXPECT_THAT(dispatcher.Plan({small, large}, {{"a", 2, 2, 0}}),
              ElementsAre(Choice("large", 11, "a"), Choice("large", 12, "a")));
}

TEST(DispatcherTest, AJobKeepsTheWorkersThatHoldItsCheckpoints) {
  Dispatcher dispatcher;
  EXPECT_THAT(dispatcher.Plan({Queue("j1", {1}), Queue("j2", {7})}, {{"a", 1, 2, 0, "j2"}, {"b", 1, 2, 0, "j1"}}),
              ElementsAre(Choice("j1", 1, "b"), Choice("j2", 7, "a")));
  // One that holds nothing before one that would drop another job's; an idle one before one that has it but is busy.
  EXPECT_THAT(dispatcher.Plan({Queue("j3", {1})}, {{"a", 1, 2, 0, "j1"}, {"b", 1, 2, 0}}),
              ElementsAre(Choice("j3", 1, "b")));
  EXPECT_THAT(dispatcher.Plan({Queue("j1", {1})}, {{"a", 1, 2, 1, "j1"}, {"b", 1, 2, 0, "j2"}}),
              ElementsAre(Choice("j1", 1, "b")));
}

TEST(DispatcherTest, WhereSlotsAreFewAWorkerStaysWithItsJobForAWhile) {
  Dispatcher dispatcher;
  DispatchJob mine = Queue("mine", {1, 2}), other = Queue("other", {7, 8});
  mine.running = 1;
  const std::vector<DispatchWorker> one = {{"a", 1, 2, 1, "mine"}};
  other.waited = absl::Seconds(59);
  EXPECT_THAT(dispatcher.Plan({mine, other}, one), ElementsAre(Choice("mine", 1, "a")));
  other.waited = absl::Seconds(60);
  EXPECT_THAT(dispatcher.Plan({mine, other}, one), ElementsAre(Choice("other", 7, "a")));
}

TEST(DispatcherTest, UnfitWorkersGetNothingAndDoNotBlockOthers) {
  Dispatcher dispatcher;
  DispatchJob picky = Queue("picky", {1, 2});
  picky.unfit = {"a"};
  EXPECT_THAT(dispatcher.Plan({picky, Queue("any", {7})}, {{"a", 1, 1, 0}, {"b", 1, 1, 0}}),
              ElementsAre(Choice("picky", 1, "b"), Choice("any", 7, "a")));
  picky.queued[0].avoid = "b";  // the only one that fits gets it back
  EXPECT_THAT(dispatcher.Plan({picky}, {{"a", 1, 1, 0}, {"b", 1, 1, 0}}), ElementsAre(Choice("picky", 1, "b")));
}

TEST(DispatcherTest, WhatRanOutOfMemoryWaitsForMoreWhereThereIsMore) {
  Dispatcher dispatcher;
  DispatchJob job = Queue("j", {1});
  job.queued[0].above_memory = 8;
  EXPECT_THAT(dispatcher.Plan({job}, {{"a", 1, 1, 0, "", 8}, {"b", 1, 1, 0, "", 16}}), ElementsAre(Choice("j", 1, "b")));
  EXPECT_THAT(dispatcher.Plan({job}, {{"a", 1, 1, 0, "", 8}, {"b", 1, 1, 1, "", 16}}), IsEmpty());
  EXPECT_THAT(dispatcher.Plan({job}, {{"a", 1, 1, 0, "", 8}}), ElementsAre(Choice("j", 1, "a")));
}

}  // namespace
}  // namespace merganser

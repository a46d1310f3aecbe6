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
  EXPECT_THAT(dispatcher.Plan({Queue("j", {1, 2, 3, 4, 5})}, {{"a", 1, 2, 0}, {"b", 2, 3, 0}}),
              ElementsAre(Choice("j", 1, "b"), Choice("j", 2, "a"), Choice("j", 3, "b"),
                          Choice("j", 4, "a"), Choice("j", 5, "b")));
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

}  // namespace
}  // namespace merganser

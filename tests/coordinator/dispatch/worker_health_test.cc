#include "coordinator/dispatch/worker_health.h"

#include "coordinator/dispatch/attempt_times.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(WorkerHealthTest, ThreeCandidatesThatSucceedElsewhereAreEnough) {
  WorkerHealth health;
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(health.Failed("bad", "j", i), "");
  EXPECT_THAT(health.Succeeded("good", "j", 1), IsEmpty());
  EXPECT_THAT(health.Succeeded("good", "j", 2), IsEmpty());
  EXPECT_THAT(health.Succeeded("good", "other", 3), IsEmpty());
  const auto verdicts = health.Succeeded("good", "j", 3);
  ASSERT_THAT(verdicts, SizeIs(1));
  EXPECT_EQ(verdicts[0].first, "bad");
  EXPECT_THAT(verdicts[0].second, HasSubstr("3 candidates"));
}

TEST(WorkerHealthTest, FiveInARowAreEnoughOnceOthersSucceed) {
  WorkerHealth health;
  for (int i = 1; i <= 9; ++i) EXPECT_EQ(health.Failed("bad", "j", i), "") << "alone, it may be the job";
  EXPECT_THAT(health.Succeeded("good", "j", 77), IsEmpty());
  EXPECT_THAT(health.Failed("bad", "j", 10), HasSubstr("in a row"));
}

TEST(WorkerHealthTest, ASuccessClearsTheRecordAndOneCandidateCountsOnce) {
  WorkerHealth health;
  EXPECT_THAT(health.Succeeded("good", "j", 99), IsEmpty());
  health.Failed("w", "j", 1);
  health.Succeeded("good", "j", 98);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(health.Failed("w", "j", 1), "");
  for (int i = 2; i <= 4; ++i) EXPECT_EQ(health.Failed("w", "j", i), "");
  health.Succeeded("w", "j", 5);
  EXPECT_EQ(health.Failed("w", "j", 6), "");
  EXPECT_THAT(health.Succeeded("good", "j", 1), IsEmpty());
}

TEST(AttemptTimesTest, AFewSayNothing) {
  AttemptTimes times;
  for (size_t i = 1; i < AttemptTimes::kEnough; ++i) times.Add(absl::Seconds(i));
  EXPECT_FALSE(times.Longest().has_value());
  EXPECT_FALSE(times.ThirdQuartile().has_value());
}

TEST(AttemptTimesTest, TheLastOnesCount) {
  AttemptTimes times;
  times.Add(absl::Hours(5));
  for (size_t i = 0; i < AttemptTimes::kKept; ++i) times.Add(absl::Seconds(1 + i % 4));
  EXPECT_EQ(*times.Longest(), absl::Seconds(4));
  EXPECT_EQ(*times.ThirdQuartile(), absl::Seconds(3));
}

}  // namespace
}  // namespace merganser

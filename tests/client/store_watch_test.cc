#include "client/store_watch.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_clock.h"

namespace merganser {
namespace {

const absl::Status kFull = absl::ResourceExhaustedError("database or disk is full");

class StoreWatchTest : public ::testing::Test {
 protected:
  void Append(const absl::Status& status) { watch_.OnStoreCommit("append", absl::ZeroDuration(), status); }

  FakeClock clock_;
  StoreWatch watch_{clock_};
};

TEST_F(StoreWatchTest, AnOutageBeginsWithTheFirstWriteInARowThatFailsAndHasTheLastError) {
  Append(absl::OkStatus());
  EXPECT_FALSE(watch_.outage().has_value());
  const absl::Duration begin = clock_.Monotonic();
  Append(absl::UnavailableError("busy"));
  clock_.Advance(absl::Seconds(7));
  Append(kFull);
  ASSERT_TRUE(watch_.outage().has_value());
  EXPECT_EQ(watch_.outage()->since, begin);
  EXPECT_EQ(watch_.outage()->error, kFull);
  Append(absl::OkStatus());
  EXPECT_FALSE(watch_.outage().has_value());
}

TEST_F(StoreWatchTest, ARecordThatIsTakenDoesNotEndAnOutageOfTheLog) {
  watch_.OnRecordWrite(kFull);
  const absl::Duration begin = clock_.Monotonic();
  clock_.Advance(absl::Seconds(1));
  Append(kFull);
  EXPECT_EQ(watch_.outage()->since, begin) << "the older of the two";
  watch_.OnRecordWrite(absl::OkStatus());
  EXPECT_EQ(watch_.outage()->since, begin + absl::Seconds(1));
  Append(absl::OkStatus());
  EXPECT_FALSE(watch_.outage().has_value());
}

TEST_F(StoreWatchTest, WhatIsNotRepeatedIsNoOutage) {
  watch_.OnStoreCommit("snapshot", absl::ZeroDuration(), kFull);
  Append(absl::FailedPreconditionError("a record is missing"));
  Append(absl::AbortedError("another coordinator leads"));
  EXPECT_FALSE(watch_.outage().has_value());
}

}  // namespace
}  // namespace merganser

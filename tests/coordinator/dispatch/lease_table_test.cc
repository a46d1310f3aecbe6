#include "coordinator/dispatch/lease_table.h"

#include "gtest/gtest.h"

namespace merganser {
namespace {

Lease Make(int64_t candidate, const std::string& worker, int deadline_s) {
  return {.id = {"job-1", candidate, 1}, .token = "token", .worker = worker, .deadline = absl::Seconds(deadline_s)};
}

TEST(LeaseTableTest, ALeaseExpiresAtItsDeadlineEarliestFirst) {
  LeaseTable table;
  table.Grant(Make(1, "a", 30));
  table.Grant(Make(2, "a", 20));
  EXPECT_TRUE(table.Expired(absl::Seconds(19)).empty());
  ASSERT_EQ(table.Expired(absl::Seconds(30)).size(), 2);
  EXPECT_EQ(table.Expired(absl::Seconds(30))[0].id.candidate, 2);
}

TEST(LeaseTableTest, OnlyItsHolderWithTheRightTokenExtendsIt) {
  LeaseTable table;
  const Lease lease = Make(1, "a", 30);
  table.Grant(lease);
  EXPECT_FALSE(table.Extend(lease.id, "other", "a", absl::Seconds(5), absl::Seconds(99)));
  EXPECT_FALSE(table.Extend(lease.id, "token", "b", absl::Seconds(5), absl::Seconds(99)));
  EXPECT_FALSE(table.Extend({"job-1", 9, 1}, "token", "a", absl::Seconds(5), absl::Seconds(99)));
  EXPECT_EQ(table.Expired(absl::Seconds(30)).size(), 1);
  EXPECT_TRUE(table.Extend(lease.id, "token", "a", absl::Seconds(5), absl::Seconds(99)));
  EXPECT_TRUE(table.Expired(absl::Seconds(30)).empty());
  EXPECT_EQ(table.Find(lease.id)->last_listed, absl::Seconds(5));
}

TEST(LeaseTableTest, ExpireEndsItNowAndAHeartbeatRevivesIt) {
  LeaseTable table;
  const Lease lease = Make(1, "a", 30);
  table.Grant(lease);
  table.Expire(lease.id, absl::Seconds(3), FailureClass::kReleased, "left");
  ASSERT_EQ(table.Expired(absl::Seconds(3)).size(), 1);
  EXPECT_EQ(table.Expired(absl::Seconds(3))[0].on_expiry, FailureClass::kReleased);
  table.Postpone(lease.id, absl::Seconds(8));
  EXPECT_EQ(table.Find(lease.id)->message, "left");
  EXPECT_TRUE(table.Extend(lease.id, "token", "a", absl::Seconds(4), absl::Seconds(34)));
  EXPECT_EQ(table.Find(lease.id)->on_expiry, FailureClass::kWorkerLost);
}

TEST(LeaseTableTest, RestartAllMovesTimesAndNothingElse) {
  LeaseTable table;
  Lease late = Make(1, "a", 30);
  late.on_expiry = FailureClass::kReleased;
  late.message = "did not come back";
  table.Grant(late);
  table.Grant(Make(2, "b", 3));
  table.RestartAll(absl::Seconds(40), absl::Seconds(55));
  EXPECT_TRUE(table.Expired(absl::Seconds(54)).empty());
  EXPECT_EQ(table.Expired(absl::Seconds(55)).size(), 2);
  EXPECT_EQ(table.Find(late.id)->last_listed, absl::Seconds(40));
  EXPECT_EQ(table.Find(late.id)->message, "did not come back");
  EXPECT_EQ(table.Find(late.id)->on_expiry, FailureClass::kReleased);
}

TEST(LeaseTableTest, CountsByWorkerFollowGrantAndRemove) {
  LeaseTable table;
  table.Grant(Make(1, "a", 30));
  table.Grant(Make(2, "a", 30));
  table.Grant(Make(2, "b", 30));  // the same attempt elsewhere
  EXPECT_EQ(table.CountOfWorker("a"), 1);
  EXPECT_EQ(table.CountOfWorker("b"), 1);
  EXPECT_TRUE(table.Remove({"job-1", 2, 1}));
  EXPECT_FALSE(table.Remove({"job-1", 2, 1}));
  EXPECT_EQ(table.CountOfWorker("b"), 0);
  EXPECT_EQ(table.size(), 1);
  EXPECT_EQ(table.Expired(absl::Seconds(30)).size(), 1);
}

}  // namespace
}  // namespace merganser

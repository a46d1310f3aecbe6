// Outages that a signal cannot make: a cut network, a full disk. Each is one process's; the job ends, and nothing is lost.
#include <signal.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/chaos/chaos_fleet.h"
#include "tests/chaos/network_namespace.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;
using testing_support::Eventually;
using testing_support::FreshDir;

RedisServer::Options RedisBeyondLoopback() {
  RedisServer::Options redis;
  redis.config = {"--bind", "0.0.0.0", "--protected-mode", "no"};
  return redis;
}

void ExpectNothingLost(ChaosFleet& fleet, const std::string& job, int64_t candidates) {
  EXPECT_TRUE(Eventually([&] {
    fleet.Supervise();
    return fleet.Over(job);
  })) << fleet.SearchFinished(job);
  const HistoryReport report = fleet.Check(job);
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(fleet.SearchFinished(job), candidates);
  EXPECT_EQ(report.records, report.results);
}

TEST(OutageTest, AWorkerBehindACutLineIsReplacedAndComesBack) {
  auto network = NetworkNamespace::Make(FreshDir("network"));
  if (network == nullptr) GTEST_SKIP() << "this user may not make a network namespace";
  ChaosOptions options;
  options.redis = RedisBeyondLoopback();
  options.workers_at[0] = {network->prefix(), network->inside(), network->outside()};
  auto started = ChaosFleet::Start(options);
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  const std::string job = fleet.Submit(ChaosJob("cut-worker", 600, 16));
  ASSERT_TRUE(Eventually([&] { return fleet.FinishedBy(0) > 5 && fleet.FinishedBy(1) > 5; }));
  ASSERT_TRUE(network->Cut());
  const int64_t finished = fleet.FinishedBy(0), before = fleet.SearchFinished(job);
  EXPECT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > before + 150; }))
      << "the other worker goes on, past the lost lease";
  EXPECT_LE(fleet.FinishedBy(0), finished + 1) << "the line is cut";
  ASSERT_TRUE(network->Heal());
  EXPECT_TRUE(Eventually([&] { return fleet.FinishedBy(0) > finished + 1; })) << "it is back";
  ExpectNothingLost(fleet, job, 600);
}

TEST(OutageTest, ALeaderBehindACutLineIsReplaced) {
  auto network = NetworkNamespace::Make(FreshDir("network"));
  if (network == nullptr) GTEST_SKIP() << "this user may not make a network namespace";
  ChaosOptions options;
  options.redis = RedisBeyondLoopback();
  options.coordinators[0] = {network->prefix(), network->inside(), network->outside()};
  auto started = ChaosFleet::Start(options);
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  if (fleet.AwaitLeader() == 1) {  // the one behind the line shall lead
    fleet.coordinator(1).Signal(SIGTERM);
    ASSERT_TRUE(fleet.EventuallyLeads(0));
    ASSERT_NE(fleet.coordinator(1).Wait(absl::Minutes(1)), -1);  // it has let go of the lease, but may still be leaving
    fleet.Supervise();
  }
  const std::string job = fleet.Submit(ChaosJob("cut-leader", 400, 16));
  ASSERT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > 10; }));
  ASSERT_TRUE(network->Cut());
  EXPECT_TRUE(fleet.EventuallyLeads(1));
  const int64_t before = fleet.SearchFinished(job);
  EXPECT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > before + 10; }))
      << "the workers did not find the new leader";
  ASSERT_TRUE(network->Heal());
  ExpectNothingLost(fleet, job, 400);
}

// A file system of 16 MB for Redis' files, filled up by somebody else's file.
class SmallDisk {
 public:
  explicit SmallDisk(std::string dir) : dir_(std::move(dir)) {
    mounted_ = mount("tmpfs", dir_.c_str(), "tmpfs", 0, "size=16m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(dir_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  void Fill() {
    std::ofstream out(dir_ + "/filler", std::ios::binary);
    const std::string block(4096, 'x');
    while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void Free() { fs::remove(dir_ + "/filler"); }

 private:
  const std::string dir_;
  bool mounted_ = false;
};

TEST(OutageTest, AFullDiskUnderTheStoreStopsTheJobUntilThereIsRoom) {
  const std::string dir = FreshDir("disk");
  SmallDisk disk(dir);
  if (!disk.mounted()) GTEST_SKIP() << "this user may not mount a file system";
  ChaosOptions options;
  options.redis.config = {"--dir", dir};
  auto started = ChaosFleet::Start(options);
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  const std::string job = fleet.Submit(ChaosJob("full-disk", 150, 16));
  ASSERT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > 20; }));
  disk.Fill();
  absl::SleepFor(absl::Seconds(2));  // writes fail; with `appendfsync always` redis-server ends when one does
  const size_t acked = fleet.Acked().size();
  disk.Free();
  fleet.redis().Kill();
  ASSERT_TRUE(fleet.redis().Restart().ok());
  ExpectNothingLost(fleet, job, 150);
  EXPECT_GE(fleet.Acked().size(), acked);
}

// A full store takes no lease either. Whoever stands by then, or starts, has nothing to do but to wait until it has room.
TEST(OutageTest, CoordinatorsWaitWhileTheStoreIsFullAndOneLeadsOnceItHasRoom) {
  auto started = ChaosFleet::Start({});
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  const std::string job = fleet.Submit(ChaosJob("full-store", 100, 16));
  ASSERT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > 10; }));
  const int leader = fleet.AwaitLeader(), other = 1 - leader;
  ASSERT_GE(leader, 0);
  fleet.Redis({"CONFIG", "SET", "maxmemory", "1"});
  fleet.coordinator(leader).Signal(SIGKILL);
  fleet.StartCoordinator(leader);                               // as its supervisor does
  int ended = fleet.coordinator(other).Wait(absl::Seconds(6));  // the lease is over after two
  if (ended == 75) {                                            // it led until the machine stalled, and was about to leave
    fleet.StartCoordinator(other);
    ended = fleet.coordinator(other).Wait(absl::Seconds(6));
  }
  EXPECT_EQ(ended, -1) << fleet.coordinator(other).Stderr();
  EXPECT_TRUE(fleet.coordinator(leader).Running()) << fleet.coordinator(leader).Stderr();
  EXPECT_EQ(fleet.Leader(), -1);
  fleet.Redis({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_GE(fleet.AwaitLeader(), 0);
  ExpectNothingLost(fleet, job, 100);
}

}  // namespace
}  // namespace merganser

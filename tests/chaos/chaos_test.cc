// Real processes, killed and frozen at random while a job runs: no acknowledged result is lost, none counts twice, and the
// job ends. MERGANSER_CHAOS_CANDIDATES (400) and MERGANSER_CHAOS_SEED (1) make it longer or another one: ./dev chaos.
#include <signal.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/chaos/chaos_fleet.h"

namespace merganser {
namespace {

using ::testing::IsEmpty;
using testing_support::Eventually;

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* const text = getenv(name);
  int64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// What happens next, and what puts it right.
class Faults {
 public:
  Faults(ChaosFleet* fleet, uint64_t seed) : fleet_(*fleet), rng_(seed, 1) {}

  void Inject() {
    const int c = Draw(ChaosFleet::kCoordinators), w = Draw(fleet_.workers());
    switch (Draw(8)) {
      case 0:
        Count("coordinator kill -9");
        fleet_.coordinator(c).Signal(SIGKILL);
        break;
      case 1:
        Count("coordinator SIGSTOP");
        Freeze(fleet_.coordinator(c), 500, 5000);
        break;
      case 2:
        Count("worker kill -9");
        fleet_.worker(w).Signal(SIGKILL);
        break;
      case 3:
        Count("worker SIGTERM");
        fleet_.worker(w).Signal(SIGTERM);
        break;
      case 4:
        Count("worker SIGSTOP");
        Freeze(fleet_.worker(w), 500, 8000);
        break;
      case 5:
        Count("redis kill -9");
        fleet_.redis().Kill();
        absl::SleepFor(Between(0, 1000));
        EXPECT_TRUE(fleet_.redis().Restart().ok());
        break;
      case 6:
        Count("redis CLIENT PAUSE");
        fleet_.Redis({"CLIENT", "PAUSE", absl::StrCat(absl::ToInt64Milliseconds(Between(200, 2500)))});
        break;
      case 7:
        Count("redis full");
        fleet_.Redis({"CONFIG", "SET", "maxmemory", "1"});
        absl::SleepFor(Between(200, 1500));
        fleet_.Redis({"CONFIG", "SET", "maxmemory", "0"});
        break;
    }
  }
  void Thaw() {
    for (auto& [pid, until] : frozen_) {
      if (until <= absl::Now()) kill(pid, SIGCONT);
    }
    std::erase_if(frozen_, [](const auto& f) { return f.second <= absl::Now(); });
  }
  void Heal() {
    for (auto& [pid, until] : frozen_) kill(pid, SIGCONT);
    frozen_.clear();
    fleet_.Redis({"CONFIG", "SET", "maxmemory", "0"});
  }
  absl::Duration Between(int low_ms, int high_ms) { return absl::Milliseconds(low_ms + Draw(high_ms - low_ms)); }
  const std::map<std::string, int>& counts() const { return counts_; }

 private:
  int Draw(int n) { return static_cast<int>(rng_.NextU64() % static_cast<uint64_t>(n)); }
  void Count(const std::string& what) { ++counts_[what]; }
  void Freeze(testing_support::Process& process, int low_ms, int high_ms) {
    if (!process.Running()) return;
    process.Signal(SIGSTOP);
    frozen_[process.pid()] = absl::Now() + Between(low_ms, high_ms);
  }

  ChaosFleet& fleet_;
  Rng rng_;
  std::map<std::string, int> counts_;
  std::map<pid_t, absl::Time> frozen_;
};

TEST(ChaosTest, NoAcknowledgedResultIsLostAndNoneCountsTwice) {
  const int64_t candidates = FromEnvironment("MERGANSER_CHAOS_CANDIDATES", 400);
  const bool longer = candidates > 400;
  auto started = ChaosFleet::Start(/*workers=*/6, /*evaluate_ms=*/longer ? 100 : 60);
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  const std::string job = fleet.Submit(ChaosJob("chaos", static_cast<int>(candidates), 64));
  ASSERT_FALSE(job.empty());

  Faults faults(&fleet, static_cast<uint64_t>(FromEnvironment("MERGANSER_CHAOS_SEED", 1)));
  const absl::Time start = absl::Now();
  const absl::Time faults_end = start + (longer ? absl::Hours(3) : absl::Seconds(20));
  absl::Time next = start, told = start;
  while (absl::Now() < faults_end && !fleet.Over(job)) {
    if (absl::Now() >= next) {
      faults.Inject();
      next = absl::Now() + faults.Between(300, longer ? 3000 : 1500);
    }
    faults.Thaw();
    fleet.Supervise();
    absl::SleepFor(absl::Milliseconds(longer ? 500 : 50));
    if (longer && absl::Now() - told > absl::Seconds(20)) {
      told = absl::Now();
      std::cerr << absl::FormatDuration(told - start) << ": " << fleet.SearchFinished(job) << " of " << candidates << "\n";
    }
  }
  faults.Heal();
  const bool over = Eventually(
      [&] {
        fleet.Supervise();
        return fleet.Over(job);
      },
      longer ? absl::Minutes(10) : absl::Minutes(2));
  EXPECT_TRUE(over) << fleet.SearchFinished(job) << " of " << candidates;
  const HistoryReport report = fleet.Check(job);
  for (const HistoryFinding& finding : report.findings) ADD_FAILURE() << ToString(finding);
  EXPECT_EQ(fleet.SearchFinished(job), candidates);
  // Prepare, three sources and the average are results too.
  EXPECT_EQ(report.results, candidates + 5);
  EXPECT_EQ(report.records, report.results);
  const std::vector<AckedResult> acked = fleet.Acked();
  EXPECT_GT(acked.size(), 0u);
  std::cerr << "chaos: " << candidates << " candidates in " << absl::FormatDuration(absl::Now() - start) << ", "
            << acked.size() << " acknowledged results all there";
  for (const auto& [what, times] : faults.counts()) std::cerr << ", " << what << " " << times;
  std::cerr << "\n";
}

TEST(StandbyTest, AKilledLeaderIsReplacedAndTheJobGoesOn) {
  auto started = ChaosFleet::Start(/*workers=*/2, /*evaluate_ms=*/40);
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  const std::string job = fleet.Submit(ChaosJob("standby", 120, 16));
  ASSERT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > 10; }));
  const int leader = fleet.AwaitLeader();
  ASSERT_GE(leader, 0);
  fleet.coordinator(leader).Signal(SIGKILL);
  EXPECT_TRUE(fleet.EventuallyLeads(1 - leader));
  EXPECT_TRUE(Eventually([&] { return fleet.Over(job); })) << fleet.coordinator(1 - leader).Stderr();
  EXPECT_THAT(fleet.Check(job).findings, IsEmpty());
}

TEST(StandbyTest, AFrozenLeaderIsReplacedAndEndsWhenItWakes) {
  auto started = ChaosFleet::Start(/*workers=*/2, /*evaluate_ms=*/40);
  if (absl::IsNotFound(started.status())) GTEST_SKIP() << started.status();
  ASSERT_TRUE(started.ok()) << started.status();
  ChaosFleet& fleet = **started;
  const std::string job = fleet.Submit(ChaosJob("frozen", 400, 16));
  ASSERT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > 10; }));
  const int leader = fleet.AwaitLeader();
  ASSERT_GE(leader, 0);
  fleet.coordinator(leader).Signal(SIGSTOP);
  EXPECT_TRUE(fleet.EventuallyLeads(1 - leader));
  const int64_t before = fleet.SearchFinished(job);
  EXPECT_TRUE(Eventually([&] { return fleet.SearchFinished(job) > before + 10; }))
      << "the workers did not find the new leader";
  fleet.coordinator(leader).Signal(SIGCONT);
  EXPECT_EQ(fleet.coordinator(leader).Wait(absl::Seconds(60)), 75) << fleet.coordinator(leader).Stderr();
  EXPECT_TRUE(Eventually([&] { return fleet.Over(job); }));
  EXPECT_THAT(fleet.Check(job).findings, IsEmpty());
}

}  // namespace
}  // namespace merganser

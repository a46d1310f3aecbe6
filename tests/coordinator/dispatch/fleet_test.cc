// What is said of a worker: its last heartbeat, corrected by what has been assigned and has ended since.
#include "coordinator/dispatch/fleet.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;

class FleetStatusTest : public testing::Test {
 protected:
  FleetStatusTest() {
    WorkerInfo info;
    info.id = "w-1";
    fleet_.Connect(info, nullptr, absl::UnixEpoch(), absl::ZeroDuration());
  }
  static AttemptId Id(int64_t candidate) { return {"job-1", candidate, 1}; }
  static std::string Token(int64_t candidate) { return "token-" + std::to_string(candidate); }
  void Told(int64_t candidate, const std::string& phase) {
    fleet_.Find("w-1")->running.push_back({Id(candidate), Token(candidate), phase});
  }
  void Assign(int64_t candidate, const std::string& worker = "w-1") {
    Lease lease;
    lease.id = Id(candidate);
    lease.token = Token(candidate);
    lease.worker = worker;
    leases_.Grant(lease);
  }
  std::vector<std::string> Running() const {
    std::vector<std::string> texts;
    for (const RunningAttempt& attempt : fleet_.Statuses(leases_)[0].running) {
      texts.push_back(std::to_string(attempt.id.candidate) + " " + attempt.phase);
    }
    return texts;
  }

  Fleet fleet_;
  LeaseTable leases_;
};

TEST_F(FleetStatusTest, WhatHasEndedSinceTheHeartbeatDoesNotRun) {
  Assign(1);
  Assign(2);
  Told(1, "evaluate");
  Told(2, "queued");
  EXPECT_THAT(Running(), ElementsAre("1 evaluate", "2 queued"));
  leases_.Remove(Id(1));  // reported
  EXPECT_THAT(Running(), ElementsAre("2 queued"));
}

TEST_F(FleetStatusTest, WhatWasAssignedSinceTheHeartbeatRuns) {
  Assign(1);
  Told(1, "evaluate");
  Assign(2);
  Assign(3, "w-2");
  EXPECT_THAT(Running(), ElementsAre("1 evaluate", "2 queued"));
}

TEST_F(FleetStatusTest, AnAttemptThatIsBeingStoppedStillTakesItsPlace) {
  Told(1, "evaluate");
  fleet_.Find("w-1")->stopping[Token(1)] = absl::ZeroDuration();
  EXPECT_THAT(Running(), ElementsAre("1 evaluate"));
}

}  // namespace
}  // namespace merganser

// Random histories of a whole fleet; every promise of service.md's list I1-I12 is checked in each.
//
//   MERGANSER_SIM_SEEDS=N    how many seeds (default 2000)
//   MERGANSER_SIM_FIRST=F    the first of them (default 1): others than those of every day
//   MERGANSER_SIM_SEED=S     one seed, its history on stderr
#include "tests/simulation/simulation.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "common/base/log.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

constexpr uint64_t kSeeds = 2000;

// "a" is scored on all there is, "b" races in blocks.
JobSpec Spec(const std::string& name) {
  JobSpec spec = SphereSpec(name);
  if (name == "b") spec.samples.racing = Racing{.block = 40};
  spec.max_attempts = 20;                    // so that no candidate fails and the search must equal the undisturbed one
  spec.attempt_timeout = absl::Seconds(25);  // they take up to 20 s, but frozen workers more
  return spec;
}

std::optional<uint64_t> FromEnvironment(const char* name) {
  const char* const text = std::getenv(name);
  uint64_t value = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

// Every fourth seed also has failovers of the store, which may take acknowledged writes with them.
SimulationOptions OptionsOf(uint64_t seed) { return {.seed = seed, .failovers = seed % 4 == 0}; }

std::vector<Candidate> Undisturbed(const std::string& name) {
  World world;
  world.AddWorker("w", 2);
  const std::string id = world.Submit(Spec(name)).id;
  world.Run(id);
  return world.Candidates(id);
}

class SimulationTest : public testing::Test {
 protected:
  SimulationTest() { SetLogLevel(LogLevel::kError); }  // the faults would fill the terminal

  void Check(const SimulationOptions& options) {
    SCOPED_TRACE(testing::Message() << "replay: MERGANSER_SIM_SEED=" << options.seed);
    Simulation simulation(options);
    simulation.Run({Spec("a"), Spec("b")});
    for (const HistoryFinding& finding : simulation.findings()) ADD_FAILURE() << ToString(finding);
    for (size_t job = 0; job < 2; ++job) {  // I3 and I11: told the same, in the same order, so proposed the same
      const std::vector<Candidate> candidates = simulation.CandidatesOf(job);
      const std::vector<Candidate>& undisturbed = undisturbed_[job];
      ASSERT_EQ(candidates.size(), undisturbed.size());
      for (size_t i = 0; i < candidates.size(); ++i) {
        EXPECT_EQ(candidates[i].genome, undisturbed[i].genome) << i;
        EXPECT_EQ(candidates[i].fitness, undisturbed[i].fitness) << i;
        EXPECT_EQ(candidates[i].stop, undisturbed[i].stop) << i;
        faults_["candidate stopped by a race"] += candidates[i].stop.has_value();
        for (const Attempt& attempt : candidates[i].attempts) {
          faults_["straggler got a second attempt"] += attempt.speculative;
          faults_["failed job resumed"] += attempt.forgiven;
          faults_["attempt timed out"] += attempt.failure == FailureClass::kTimedOut;
        }
      }
    }
    for (const auto& [kind, times] : simulation.faults()) faults_[kind] += times;
  }

  const std::vector<Candidate> undisturbed_[2] = {Undisturbed("a"), Undisturbed("b")};
  std::map<std::string, int> faults_;
};

TEST_F(SimulationTest, EveryPromiseHoldsInRandomHistories) {
  if (const auto seed = FromEnvironment("MERGANSER_SIM_SEED")) {
    SimulationOptions options = OptionsOf(*seed);
    options.trace = true;
    SetLogLevel(LogLevel::kInfo);
    Check(options);
    return;
  }
  const uint64_t seeds = FromEnvironment("MERGANSER_SIM_SEEDS").value_or(kSeeds);
  const uint64_t first = FromEnvironment("MERGANSER_SIM_FIRST").value_or(1);
  for (uint64_t seed = first; seed < first + seeds && !HasFailure(); ++seed) Check(OptionsOf(seed));
  if (seeds < kSeeds) return;
  // A simulation whose faults do not happen proves nothing.
  for (const char* kind : {"coordinator killed",
                           "coordinator frozen",
                           "coordinator cut from the store",
                           "store away",
                           "store killed",
                           "store fails over",
                           "worker killed",
                           "worker frozen",
                           "worker cut from the store",
                           "worker cut from the coordinators",
                           "worker drains",
                           "old report repeated",
                           "session broken",
                           "slow store call",
                           "coordinator dies in a store call",
                           "message to a worker lost",
                           "attempt fails",
                           "job fails",
                           "failed job resumed",
                           "evaluation hangs",
                           "job paused",
                           "job updated",
                           "candidate stopped by a race",
                           "straggler got a second attempt",
                           "attempt timed out"}) {
    EXPECT_GT(faults_[kind], 100) << kind;
  }
}

TEST_F(SimulationTest, TheSameSeedGivesTheSameHistory) {
  uint64_t digests[2];
  for (uint64_t& digest : digests) {
    Simulation simulation(OptionsOf(4));
    simulation.Run({Spec("a"), Spec("b")});
    digest = simulation.digest();
  }
  EXPECT_EQ(digests[0], digests[1]);
}

}  // namespace
}  // namespace merganser

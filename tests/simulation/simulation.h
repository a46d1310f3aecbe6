// A whole fleet on one thread, under a simulated clock, network and disk, from one seed: two
// coordinators (one leads, one stands by), workers that come and go, a store that fails. The
// coordinators are the product's JobLoop; a worker here keeps the promises of worker/agent (record
// before report, spool, repeats) with what it takes from the network.
//
// The same seed gives the same history, so a failure is replayed by its seed (simulation_test.cc
// says how).
#ifndef MERGANSER_TESTS_SIMULATION_SIMULATION_H_
#define MERGANSER_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/rng.h"
#include "coordinator/job/history.h"
#include "coordinator/job/job_loop.h"
#include "tests/simulation/sim_store.h"
#include "tests/testing/fake_clock.h"

namespace merganser {

struct SimulationOptions {
  uint64_t seed = 1;
  bool failovers = false;  // the store may go back to a replica that lags
  bool trace = false;      // every step to stderr
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation();

  // Submits `specs`, lets faults happen, then heals everything and waits for the jobs. What was not
  // kept is in findings().
  void Run(const std::vector<JobSpec>& specs);

  const std::vector<HistoryFinding>& findings() const { return findings_; }
  // Of job `i`, as the last leader knows them; empty if there is none.
  std::vector<Candidate> CandidatesOf(size_t i);
  // A digest of every step, for comparing two runs.
  uint64_t digest() const { return digest_; }
  absl::Duration passed() const { return clock_.Monotonic() - start_; }
  // How often each kind of fault happened.
  const std::map<std::string, int>& faults() const { return faults_; }

 private:
  struct Coordinator;
  struct Worker;
  struct Session;
  struct Result;
  class Link;
  class Died {};  // thrown through a job loop whose process dies

  // --- simulation.cc: time, faults, checks
  int Draw(int n) { return static_cast<int>(rng_.NextU64() % static_cast<uint64_t>(n)); }
  absl::Duration Between(absl::Duration low, absl::Duration high);
  void At(absl::Duration delay, std::function<void()> step);
  void RunUntil(absl::Duration time);
  void Trace(const std::string& line);
  void Find(const std::string& invariant, const std::string& job, const std::string& message);
  void Inject();
  void Pause(const std::string& job, bool pause);
  void Heal();
  void CheckRunning();
  void CheckLeaders();
  void CheckEnd();

  // --- sim_coordinators.cc
  void Boot(int c);
  // Runs `step` on the coordinator's loop if the process still lives, later if it is frozen or
  // inside a call.
  void OnLoop(int c, int life, std::function<void(Coordinator&)> step);
  void DrainLoop(int c);
  void TickLoop(int c, int life);
  void Kill(int c);
  void ForgetWhatOnlyALeaderHad();
  SimStoreClient::Fault BeforeStoreCall(int c);
  Coordinator* Leader();
  void CompareReplay(Coordinator& coordinator);

  // --- sim_workers.cc
  void Hire();
  void Fire(int w, bool spool_survives);
  void Dial(int w);
  void Break(int session, bool both_notice);
  void ToWorker(int session, std::function<void(Worker&)> message);
  void ToCoordinator(int session, std::function<void(Coordinator&, Session&)> message);
  void Beat(int w, int life);
  void StartNext(int w);
  void Store(int w, int life, Result result);
  void Report(int w, int life, Result result);
  std::vector<RunningAttempt> RunningOf(const Worker& worker) const;
  // Runs `step` if the worker is still that process; later, in order, if it is frozen.
  void OnWorker(int w, int life, std::function<void(Worker&)> step);
  void DrainWorker(int w);

  struct Later {
    absl::Duration at;
    uint64_t order;
    std::function<void()> step;
    bool operator<(const Later& other) const { return at != other.at ? at > other.at : order > other.order; }
  };

  const SimulationOptions options_;
  Rng rng_;
  FakeClock clock_;
  const absl::Duration start_;
  SimStore store_;
  std::priority_queue<Later> later_;
  uint64_t steps_ = 0;
  bool faulty_ = false;
  bool done_ = false;
  int depth_ = 0;  // of store calls in which others go on

  std::vector<std::unique_ptr<Coordinator>> coordinators_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<std::string> job_ids_;
  std::vector<AckedResult> acked_;
  std::vector<AttemptReport> sent_;
  std::set<int64_t> epochs_;
  std::vector<std::string> spool_;  // records that dead workers left on disk
  absl::Duration store_away_until_;
  absl::Duration trouble_until_;  // I5 is not judged before
  bool lost_writes_ = false;      // a failover lost acknowledged writes

  std::vector<HistoryFinding> findings_;
  std::map<std::string, int> faults_;
  uint64_t digest_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_SIMULATION_SIMULATION_H_

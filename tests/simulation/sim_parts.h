// The processes of the simulation; private to it.
#ifndef MERGANSER_TESTS_SIMULATION_SIM_PARTS_H_
#define MERGANSER_TESTS_SIMULATION_SIM_PARTS_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/simulation.h"

namespace merganser {

struct Simulation::Coordinator {
  int index = 0;
  int life = 0;  // which process this is; steps meant for an earlier one are dropped
  std::unique_ptr<SimStoreClient> store;
  std::unique_ptr<JobLoop> loop;                                        // null: not running
  bool in_call = false;                                                 // waits for the store while others go on
  bool doomed = false;                                                  // dies when its call returns
  std::deque<std::pair<int, std::function<void(Coordinator&)>>> inbox;  // (life, step), in order of arrival
  bool inbox_due = false;
  absl::Duration frozen_until;
  absl::Duration cut_until;  // from the store
  absl::Duration led_since;
  int64_t epoch = 0;  // when it last led
};

struct Simulation::Session {
  int id = 0;
  int worker = 0, worker_life = 0;
  int coordinator = 0, coordinator_life = 0;
  bool worker_end = true;       // the worker still uses it
  bool coordinator_end = true;  // the coordinator still uses it
  std::shared_ptr<Link> link;   // shared with the loop's fleet
  absl::Duration to_worker;     // when the last message arrives: a stream keeps its order
  absl::Duration to_coordinator;
  bool draining_known = false;  // the coordinator has heard that the worker drains
};

struct Simulation::Result {
  AttemptReport report;
  std::string record;  // empty for a failure
  bool stored = false;
  int tries = 0;
};

struct Simulation::Worker {
  int index = 0;
  int life = 0;
  std::string id;
  int slots = 1;
  bool up = false;
  bool draining = false;
  absl::Duration frozen_until;
  std::deque<std::pair<int, std::function<void(Worker&)>>> inbox;  // (life, step), in order of arrival
  bool inbox_due = false;
  absl::Duration cut_from_store_until;
  absl::Duration cut_from_coordinator_until;
  int session = -1;
  std::deque<Assignment> queue;
  std::map<std::string, RunningAttempt> held;  // by token
  std::map<std::string, std::string> on_disk;  // spooled records by key
  int evaluating = 0;
};

// The coordinator's end of a session.
class Simulation::Link final : public WorkerLink {
 public:
  Link(Simulation* simulation, int session) : simulation_(*simulation), session_(session) {}
  void Assign(const Assignment& assignment) override;
  void Cancel(const AttemptId& id) override;
  void Drain() override;
  void Acknowledge(const std::vector<RunningAttempt>& unknown) override;
  void GoAway(absl::Duration retry_after) override;

 private:
  Simulation& simulation_;
  const int session_;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_SIMULATION_SIM_PARTS_H_

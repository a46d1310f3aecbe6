// Two coordinators, workers that evaluate nothing (fake_worker.cc) and redis-server with every write fsynced, as processes
// that a test kills, freezes and starts again.
#ifndef MERGANSER_TESTS_CHAOS_CHAOS_FLEET_H_
#define MERGANSER_TESTS_CHAOS_CHAOS_FLEET_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/domain/job_spec.h"
#include "common/store/results_store.h"
#include "coordinator/job/history.h"
#include "tests/common/store/redis_server.h"
#include "tests/testing/process.h"

namespace merganser {

struct ChaosOptions {
  int workers = 2;
  int evaluate_ms = 50;
  RedisServer::Options redis;
  // Where a process runs: what its command line begins with, and the address at which it is and at which it finds the
  // others. Beyond loopback Redis must be told to listen there (RedisServer::Options::config).
  struct Place {
    std::vector<std::string> prefix;
    std::string address = "127.0.0.1";
    std::string redis = "127.0.0.1";
  };
  std::map<int, Place> coordinators, workers_at;  // by number; others: here
};

class ChaosFleet {
 public:
  static constexpr int kCoordinators = 2;

  // NotFound if redis-server is not there.
  static absl::StatusOr<std::unique_ptr<ChaosFleet>> Start(ChaosOptions options);
  static absl::StatusOr<std::unique_ptr<ChaosFleet>> Start(int workers, int evaluate_ms) {
    ChaosOptions options;
    options.workers = workers;
    options.evaluate_ms = evaluate_ms;
    return Start(std::move(options));
  }
  ~ChaosFleet();

  void StartCoordinator(int c);
  void StartWorker(int w);
  // A dead process is started again, as a supervisor does.
  void Supervise();
  // The one that leads, by asking each; -1 if none answers that it does.
  int Leader();
  // The same, asked until one does; -1 after two minutes.
  int AwaitLeader();
  // Candidates that worker w has finished, by the list of the leader, which is waited for; -1 after two minutes.
  int64_t FinishedBy(int w);
  // False after two minutes. Coordinator c is started again if it ends: a stall of the machine may have cost it the lead.
  bool EventuallyLeads(int c);

  std::string Submit(const JobSpec& spec);
  // Search candidates that are finished, by the log; the store must answer.
  int64_t SearchFinished(const std::string& job);
  bool Over(const std::string& job);
  // "redis-cli ARGS" on the server's socket.
  void Redis(const std::vector<std::string>& args);

  // Every result that a worker was told is committed.
  std::vector<AckedResult> Acked() const;
  // What the history checker finds in the store, acknowledged results included.
  HistoryReport Check(const std::string& job);

  testing_support::Process& coordinator(int c) { return *coordinators_[c]; }
  testing_support::Process& worker(int w) { return *workers_[w]; }
  int workers() const { return static_cast<int>(workers_.size()); }
  RedisServer& redis() { return *redis_; }
  ResultsStore& store() { return *store_; }
  const std::string& dir() const { return dir_; }
  std::string Servers() const;  // user ports, by commas

 private:
  ChaosFleet() = default;
  std::string WorkerServers(const std::string& here) const;
  ChaosOptions::Place PlaceOf(const std::map<int, ChaosOptions::Place>& places, int number) const;
  std::string StoreAt(const ChaosOptions::Place& place) const;

  std::string dir_;
  ChaosOptions options_;
  int starts_ = 0;
  std::unique_ptr<RedisServer> redis_;
  std::unique_ptr<ResultsStore> store_;
  std::vector<int> user_ports_, worker_ports_;
  std::vector<std::unique_ptr<testing_support::Process>> coordinators_, workers_;
};

// A job of `candidates` that any of these workers evaluates, random search.
JobSpec ChaosJob(const std::string& name, int candidates, int population);

}  // namespace merganser

#endif  // MERGANSER_TESTS_CHAOS_CHAOS_FLEET_H_

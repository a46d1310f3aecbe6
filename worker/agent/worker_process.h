// What merganser-worker does after its flags are read; apart from main, so that test workers share it.
#ifndef MERGANSER_WORKER_AGENT_WORKER_PROCESS_H_
#define MERGANSER_WORKER_AGENT_WORKER_PROCESS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/domain/dispatch.h"
#include "common/rpc/credentials.h"
#include "common/rpc/shutdown_signal.h"
#include "common/store/results_store.h"
#include "worker/agent/cache_requests.h"
#include "worker/agent/session_client.h"
#include "worker/evaluate/candidate_evaluator.h"

namespace merganser {

struct WorkerProcessOptions {
  std::vector<std::string> coordinators = {"127.0.0.1:50052"};  // worker ports; the one that leads is found
  ClientSecurity security;
  WorkerInfo info;
  std::string gpu_pci_bus_id;                                // DeviceInfo's: whose metrics are shown
  std::string spool_dir;                                     // AgentOptions::spool_dir
  std::string http;                                          // HOST:PORT of /metrics, /healthz, /readyz; "" for none
  std::function<CacheRequests()> cache_requests;             // of the checkpoint cache, for metrics; may be empty
  absl::Duration exit_when_idle = absl::InfiniteDuration();  // leave after so long without an attempt
  absl::Duration drain_report_time = absl::Seconds(30);      // for the last report, once nothing evaluates
  SessionClientOptions session;
};

// A fresh id for WorkerInfo and "host/pid" for its name.
std::string NewWorkerId();
std::string DefaultWorkerName();

// Runs until a signal (then drains: finishes what runs, gives back what waits; a second signal ends it at once), a drain
// by the coordinator, or idleness. Returns the exit code: 0 drained or idle, 143 after a signal, 78 if the coordinator will
// never take this worker or an option is wrong, 69 if its HTTP port is taken.
int RunWorkerProcess(const WorkerProcessOptions& options, CandidateEvaluator* evaluator, RecordStore* store,
                     ShutdownSignal* signal);

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_WORKER_PROCESS_H_

// An agent's connection to the leading one of some coordinators in other processes: one Session stream that comes back after
// every break, and a unary call per report on a channel of its own.
#ifndef MERGANSER_WORKER_AGENT_SESSION_CLIENT_H_
#define MERGANSER_WORKER_AGENT_SESSION_CLIENT_H_

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/domain/dispatch.h"
#include "common/rpc/channel.h"
#include "merganser/v1/worker_service.grpc.pb.h"
#include "worker/agent/agent.h"
#include "worker/agent/coordinator_link.h"

namespace merganser {

struct SessionClientOptions {
  absl::Duration backoff_first = absl::Milliseconds(500);  // between sessions, with full jitter
  absl::Duration backoff_max = absl::Seconds(30);
  absl::Duration welcome_timeout = absl::Seconds(10);
  absl::Duration report_timeout = absl::Seconds(10);
  // A coordinator that answers so many heartbeats in a row with nothing is taken for gone (it may be frozen).
  int silent_heartbeats_max = 4;
};

// Two channels to one coordinator.
struct CoordinatorChannels {
  ClientChannel session;
  ClientChannel reports;
  std::string address;  // HOST:PORT, for the log
};

// After a session ends, or is refused because its coordinator does not lead, the next address is tried; once all were, it
// waits. Reports go to the coordinator of the last session.
//
// Heartbeats come from its own thread, so a busy evaluator or a drain does not stop them. Every Hello names the attempts
// that the agent still holds. Order of life: client, agent (which takes the client), Start ... Stop, agent gone, client
// gone. Thread-safe.
class SessionClient final : public CoordinatorLink {
 public:
  // REQUIRES: at least one coordinator.
  explicit SessionClient(std::vector<CoordinatorChannels> coordinators, const SessionClientOptions& options = {});
  // One coordinator.
  SessionClient(ClientChannel session, ClientChannel reports, const SessionClientOptions& options = {})
      : SessionClient(std::vector<CoordinatorChannels>{{std::move(session), std::move(reports)}}, options) {}
  // Stop().
  ~SessionClient() override;

  // Opens the first session and keeps one open until Stop. Once.
  void Start(Agent* agent);
  // Says goodbye (an idle, draining agent is then gone for the coordinator at once) and ends. Idempotent.
  void Stop();

  // The coordinator's error, Unavailable while it cannot be reached. Called by the agent, which does the retries.
  absl::StatusOr<Disposition> Report(const AttemptReport& report) override;

  // A session is open and welcomed.
  bool connected() const;
  // Why the coordinator will never take this worker (Unauthenticated, PermissionDenied, InvalidArgument, Unimplemented);
  // OK otherwise.
  absl::Status refused() const;

 private:
  class Stream;
  class Session;
  struct Peer {
    CoordinatorChannels channels;
    std::unique_ptr<v1::WorkerService::Stub> session_stub;
    std::unique_ptr<v1::WorkerService::Stub> reports_stub;
  };
  struct SessionEnd {
    absl::Status status;
    absl::Duration retry_after;
    bool welcomed;  // by a coordinator that runs, leading or not
  };

  void Run();
  // It acknowledges this worker, which only a leader does.
  void TakeAsLeader(size_t index) ABSL_LOCKS_EXCLUDED(mu_);
  v1::SessionRequest HeartbeatNow() const;

  // Constant after construction (agent_: after Start).
  std::vector<Peer> peers_;
  const SessionClientOptions options_;
  Agent* agent_ = nullptr;

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool connected_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refused_ ABSL_GUARDED_BY(mu_);
  Stream* stream_ ABSL_GUARDED_BY(mu_) = nullptr;  // of the session that runs
  size_t leader_ ABSL_GUARDED_BY(mu_) = 0;         // of the last session with a leader

  std::thread thread_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_SESSION_CLIENT_H_

#include "worker/agent/worker_process.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "common/rpc/http_server.h"
#include "worker/agent/agent.h"
#include "worker/agent/gpu_sensor.h"
#include "worker/agent/worker_metrics.h"

namespace merganser {
namespace {

constexpr int kExitConfig = 78, kExitUnavailable = 69, kExitSignal = 143;
constexpr absl::Duration kSample = absl::Seconds(2);       // between readings of GPU, disk and cache
constexpr absl::Duration kTick = absl::Milliseconds(200);  // how late an idle or drained worker notices it

int Fail(const absl::Status& status) {
  MG_LOG(ERROR) << "worker cannot start error=\"" << status.message() << '"';
  return absl::IsUnavailable(status) ? kExitUnavailable : kExitConfig;
}

void Sample(const WorkerProcessOptions& options, const GpuSensor* gpu, WorkerMetrics* metrics) {
  const std::string& spool_dir = options.spool_dir;
  struct statvfs disk;
  if (!spool_dir.empty() && statvfs(spool_dir.c_str(), &disk) == 0) {
    metrics->SetSpoolFree(static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize));
  }
  if (options.cache_requests) metrics->SetCacheRequests(options.cache_requests());
  if (gpu == nullptr) return;
  if (const std::optional<GpuReading> reading = gpu->Read()) metrics->SetGpu(*reading);
}

bool OnlyReports(const Agent& agent) {
  for (const RunningAttempt& attempt : agent.running()) {
    if (attempt.phase != "record") return false;
  }
  return true;
}

}  // namespace

std::string NewWorkerId() { return absl::StrCat("worker-", RandomToken().substr(0, 12)); }

std::string DefaultWorkerName() {
  char host[256] = "host";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, "/", getpid());
}

int RunWorkerProcess(const WorkerProcessOptions& options, CandidateEvaluator* evaluator, RecordStore* store,
                     ShutdownSignal* signal) {
  std::vector<CoordinatorChannels> channels;
  for (const std::string& address : options.coordinators) {
    const absl::StatusOr<ClientChannel> session = CreateChannel(address, options.security);
    if (!session.ok()) return Fail(session.status());
    const absl::StatusOr<ClientChannel> reports = CreateChannel(address, options.security);
    if (!reports.ok()) return Fail(reports.status());
    channels.push_back({*session, *reports, address});
  }
  if (channels.empty()) return Fail(absl::InvalidArgumentError("no coordinator is named"));

  WorkerMetrics metrics;
  SessionClient client(std::move(channels), options.session);
  AgentOptions agent_options;
  agent_options.info = options.info;
  agent_options.spool_dir = options.spool_dir;
  Agent agent(evaluator, store, agent_options, &client, &metrics);
  std::unique_ptr<HttpServer> http;
  if (!options.http.empty()) {
    auto server = HttpServer::Start(options.http, ServiceEndpoints(&metrics.registry(), [&client] {
                                      return client.connected() ? absl::OkStatus()
                                                                : absl::UnavailableError("no session with the coordinator");
                                    }));
    if (!server.ok()) return Fail(server.status());
    http = *std::move(server);
    MG_LOG(INFO) << "http listening port=" << http->port();
  }
  MG_LOG(INFO) << "worker started id=" << options.info.id << " name=" << options.info.name
               << " device=" << options.info.device << " coordinators=" << absl::StrJoin(options.coordinators, ",");
  client.Start(&agent);
  // Read for nobody but who scrapes.
  const std::unique_ptr<GpuSensor> gpu = http == nullptr ? nullptr : GpuSensor::Open(options.gpu_pci_bus_id);
  absl::Duration next_sample = http == nullptr ? absl::InfiniteDuration() : absl::ZeroDuration();

  int code = 0;
  absl::Duration report_deadline = absl::InfiniteDuration();  // set once nothing evaluates any more
  while (true) {
    if (const absl::Duration now = Clock::Real().Monotonic(); now >= next_sample) {
      Sample(options, gpu.get(), &metrics);
      next_sample = now + kSample;
    }
    if (const std::optional<int> number = signal->Wait(kTick)) {
      if (code == kExitSignal) {
        MG_LOG(WARNING) << "second signal: leaving without a report";
        _exit(kExitSignal);
      }
      MG_LOG(INFO) << "signal " << *number << ": draining";
      code = kExitSignal;
      agent.Drain();
    }
    const absl::Status refused = client.refused();
    if (!refused.ok() && agent.running().empty()) {
      MG_LOG(ERROR) << "the coordinator refuses this worker error=\"" << refused.message() << '"';
      code = kExitConfig;
      break;
    }
    if (agent.draining()) {
      if (agent.running().empty()) break;
      const absl::Duration now = Clock::Real().Monotonic();
      if (!OnlyReports(agent)) continue;
      if (report_deadline == absl::InfiniteDuration()) report_deadline = now + options.drain_report_time;
      if (now >= report_deadline) {
        MG_LOG(WARNING) << "leaving with unreported results; they are in the store or in the spool";
        break;
      }
    } else if (agent.idle_time() >= options.exit_when_idle) {
      MG_LOG(INFO) << "idle for " << absl::FormatDuration(options.exit_when_idle) << ": leaving";
      agent.Drain();
    }
  }
  client.Stop();
  http.reset();
  agent.Stop();
  MG_LOG(INFO) << "worker ended code=" << code;
  return code;
}

}  // namespace merganser

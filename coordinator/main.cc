// merganser-coordinator: leads the search. Flags, start and stop; everything else is in its modules.
#include <google/protobuf/stubs/logging.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/cli/address_check.h"
#include "common/cli/man_page.h"
#include "common/cli/number_checks.h"
#include "common/cli/usage_error.h"
#include "common/codec/job_codec.h"
#include "common/rpc/certificate_expiry.h"
#include "common/rpc/duration_flag.h"
#include "common/rpc/http_server.h"
#include "common/rpc/shutdown_signal.h"
#include "common/store/open_in_time.h"
#include "common/store/open_store.h"
#include "common/transfer/hub_client.h"
#include "coordinator/http/background_sampler.h"
#include "coordinator/http/coordinator_metrics.h"
#include "coordinator/http/dashboard.h"
#include "coordinator/http/job_front.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/rpc/server.h"
#include "worker/checkpoint/model_locator.h"

namespace merganser {
namespace {

// sysexits.h, and 128 + SIGTERM.
constexpr int kExitUsage = 64, kExitUnavailable = 69, kExitTemporary = 75, kExitConfig = 78, kExitSignal = 143;
constexpr absl::Duration kTick = absl::Seconds(1);           // of gauges, and how late a lost lead is noticed
constexpr absl::Duration kSample = absl::Seconds(15);        // of what costs a file, a question or a calculation
constexpr size_t kFrontsMax = 8;                             // jobs whose front is exported
constexpr size_t kFreedBytesMax = size_t{128} << 20;         // that malloc keeps for itself
constexpr absl::Duration kShutdownGrace = absl::Seconds(5);  // for unary calls in work

struct Flags {
  ServerOptions server;
  JobManagerOptions manager;
  std::string http = "127.0.0.1:9090";
  std::string store = "redis://127.0.0.1:6379";
  absl::Duration store_wait = absl::Seconds(30);
  std::string port_file;
  int reflection = -1;
  std::vector<std::string> model_roots;
};

void AddFlags(CLI::App* app, Flags* flags) {
  app->add_option("--listen", flags->server.listen, "HOST:PORT for users; port 0 chooses one")
      ->check(HostPort())
      ->capture_default_str();
  app->add_option("--worker-listen", flags->server.worker_listen, "HOST:PORT for workers")
      ->check(HostPort())
      ->capture_default_str();
  app->add_option("--http", flags->http, "HOST:PORT of the dashboard, /metrics, /healthz and /readyz; \"\" for none")
      ->check(HostPort(/*may_be_empty=*/true))
      ->capture_default_str();
  app->add_option("--store", flags->store, "redis://HOST:PORT or sqlite:PATH; memory: forgets everything")
      ->capture_default_str();
  AddDurationFlag(app, "--store-wait", &flags->store_wait, "to wait for the store at the start");
  app->add_option("--holder", flags->manager.holder, "this coordinator's name for others that want to lead");
  app->add_option(
      "--model-root", flags->model_roots,
      "workers that lack a checkpoint get it from this folder, if a job names it (repeatable); none: nothing is given out");
  app->add_option("--checkpoint-streams", flags->server.share.streams_max, "files that workers read at a time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--checkpoint-rate", flags->server.share.bytes_per_second, "bytes per second to all of them; 0: no bound")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->capture_default_str();
  app->add_option("--client-rate", flags->server.client_rate,
                  "calls a second of one user (token, certificate or host), 4 s' worth at once; 0: no bound")
      ->check(NonNegativeNumber())
      ->capture_default_str();
  app->add_option("--worker-rate", flags->server.worker_rate, "the same of one worker token, certificate or host")
      ->check(NonNegativeNumber())
      ->capture_default_str();
  app->add_option("--port-file", flags->port_file,
                  "once it listens, write \"user HOST:PORT\", \"worker ...\" and \"http ...\" here, a line each");
  app->add_option("--tls-cert", flags->server.security.tls_cert, "PEM certificate chain");
  app->add_option("--tls-key", flags->server.security.tls_key, "PEM key");
  app->add_option("--tls-ca", flags->server.security.tls_ca, "PEM CA that signs client certificates; their CN is a role");
  app->add_option("--token-file", flags->server.security.token_file, "lines \"role token\" or \"role token name\"");
  app->add_flag("--insecure", flags->server.security.insecure, "let other hosts in without TLS or authentication");
  app->add_option("--reflection", flags->reflection, "gRPC reflection: 1, 0 or -1 (on loopback only)")
      ->check(CLI::Range(-1, 1))
      ->capture_default_str();
  AddDurationFlag(app, "--leader-lease", &flags->manager.leader_lease, "without renewal, until another may lead");
  AddDurationFlag(app, "--lease", &flags->manager.lease, "without heartbeat, until an attempt counts as lost");
  AddDurationFlag(app, "--heartbeat", &flags->manager.heartbeat_interval, "between a worker's heartbeats");
  AddDurationFlag(app, "--reattach", &flags->manager.reattach_window, "for workers to come back after a restart");
}

int Fail(absl::string_view what, const absl::Status& status) {
  MG_LOG(ERROR) << what << " error=\"" << status.message() << '"';
  // A store that is full may have room again.
  if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) return kExitUnavailable;
  if (absl::IsAborted(status) || absl::IsInternal(status)) return kExitTemporary;
  return kExitConfig;
}

// "127.0.0.1:0" -> "127.0.0.1:50051".
std::string WithPort(const std::string& address, int port) {
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

// The dashboard's pages, for whom the services are: everybody on loopback, else who has a token. nullptr where neither tells
// who looks; then there are only metrics and probes at --http.
absl::StatusOr<HttpServer::RequestHandler> MakePages(const Flags& flags, JobManager* manager, ResultsStore* store,
                                                     std::shared_ptr<JobIndexes> indexes) {
  const ServerSecurity& security = flags.server.security;
  const bool open = security.token_file.empty() && security.tls_ca.empty();
  if (open && !IsLoopback(flags.http) && !security.insecure) {
    MG_LOG(WARNING) << "no dashboard at " << flags.http
                    << ": other hosts can reach it and nothing tells who they are; give --token-file";
    return nullptr;
  }
  absl::StatusOr<Authorizer> authorizer = Authorizer::Create(security);
  if (!authorizer.ok()) return authorizer.status();
  DashboardOptions options;
  options.store_uri = store->uri();
  options.indexes = std::move(indexes);
  options.authorize = [authorizer = *std::move(authorizer)](absl::string_view token,
                                                            bool change) -> absl::StatusOr<std::string> {
    std::string who;
    MG_RETURN_IF_ERROR(authorizer.Check(token, {}, change ? Role::kSubmitter : Role::kViewer, &who));
    return who;
  };
  if (open && !security.insecure) {
    options.host_allowed = [](absl::string_view host) { return IsLoopback(absl::StrCat(host, ":0")) || IsLoopback(host); };
  }
  return MakeDashboard(manager, store, std::move(options));
}

// Waits as a stand-by while another leads. nullopt: it leads; else the exit code.
std::optional<int> Lead(JobManager* manager, ResultsStore* store, CoordinatorMetrics* metrics, ShutdownSignal* signal) {
  std::optional<bool> told_up;
  while (true) {
    const absl::Duration start = Clock::Real().Monotonic();
    const absl::Status status = manager->Start();
    if (status.ok()) {
      metrics->OnReplayed(Clock::Real().Monotonic() - start);
      metrics->SetStoreUp(true);
      return std::nullopt;
    }
    if (absl::IsDataLoss(status)) {
      MG_LOG(ERROR)
          << "the store is damaged: `merganser store verify` says where, `merganser store restore` brings back a backup, "
             "`merganser store migrate --salvage` what comes before the damage";
    }
    // A store that is full takes no lease either; it may have room again.
    if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) return Fail("cannot lead", status);
    // That another leads is Unavailable, too.
    const bool up = !absl::IsUnavailable(store->GetFleet().status());
    metrics->SetStoreUp(up);
    if (std::exchange(told_up, up) != up) {
      MG_LOG(INFO) << "standing by store_up=" << up << " reason=\"" << status.message() << '"';
    }
    metrics->Sample(*manager);
    if (signal->Wait(kTick).has_value()) return kExitSignal;
  }
}

// What models of a job are on this machine, and at the Hub.
void ShareCheckpoints(const std::vector<std::string>& model_roots, CheckpointShareOptions* share) {
  const auto environment = [](const char* name) -> const char* { return getenv(name); };
  const std::string hub_cache = HubCacheFolder(environment);
  for (const std::string& root : model_roots) {
    if (!std::filesystem::is_directory(root)) {
      MG_LOG(WARNING) << "--model-root is no folder, nothing is given out of it: " << root;
    }
  }
  if (!model_roots.empty()) {
    share->resolve = [locator = ModelLocatorOptions{"", model_roots, hub_cache, nullptr}](const std::string& path) {
      return ResolveModel(path, locator);
    };
  }
  HubOptions hub = HubOptionsFrom(environment, hub_cache);
  hub.access.connect_timeout = absl::Seconds(5);  // somebody waits for the answer to a submit
  hub.access.stall_timeout = absl::Seconds(10);
  share->pin_hub_id = [hub, hub_cache](const std::string& path) {
    return PinHubId(path, hub_cache,
                    [&hub](const std::string& repository, const std::string& revision) -> absl::StatusOr<std::string> {
                      MG_ASSIGN_OR_RETURN(const HubModel model, HubClient(hub).LookUp(repository, revision));
                      return model.commit;
                    });
  };
}

// What SampledMetrics shows of a coordinator that leads, and of every one its certificate.
std::function<void()> SampleOf(const Flags& flags, JobManager* manager, std::shared_ptr<JobIndexes> indexes,
                               SampledMetrics* metrics) {
  return [security = flags.server.security, probe = OpenPersistenceProbe(flags.store), manager, indexes = std::move(indexes),
          metrics] {
    if (!security.tls_cert.empty()) {
      // Files that do not belong together are not served either: the certificate before them is, and its time stays.
      if (const absl::StatusOr<absl::Time> expiry = CertificateExpiry(security); expiry.ok()) {
        metrics->SetCertificateExpiry(*expiry);
      }
    }
    if (!manager->leading()) return;
    if (probe) {
      if (const absl::StatusOr<StorePersistence> store = probe(); store.ok())
        metrics->SetDelayedFsyncs(store->delayed_fsyncs);
    }
    metrics->SetFronts(ActiveFronts(manager, indexes.get(), kFrontsMax));
  };
}

// glibc keeps what it took for a burst of large requests, which may never come again.
void ReturnFreedMemory() {
  if (mallinfo2().fordblks > kFreedBytesMax) malloc_trim(0);
}

// "user HOST:PORT", "worker HOST:PORT" and "http HOST:PORT" or "http none", for scripts that let ports be chosen.
absl::Status WritePorts(const Flags& flags, const Server& server, const HttpServer* http) {
  return WriteFileAtomically(flags.port_file,
                             absl::StrCat("user ", WithPort(flags.server.listen, server.port()), "\nworker ",
                                          WithPort(flags.server.worker_listen, server.worker_port()), "\nhttp ",
                                          http != nullptr ? WithPort(flags.http, http->port()) : "none", "\n"));
}

// Serves until a signal or the loss of the lead: the exit code.
int ServeAsLeader(JobManager* manager, Server* server, CoordinatorMetrics* metrics,
                  const std::function<absl::Status()>& ready, ShutdownSignal* signal) {
  for (absl::Duration trim_at = Clock::Real().Monotonic();;) {
    server->SetServing(ready().ok());
    metrics->Sample(*manager);
    if (const absl::Duration now = Clock::Real().Monotonic(); now >= trim_at) {
      ReturnFreedMemory();
      trim_at = now + kSample;
    }
    if (signal->Wait(kTick).has_value()) return kExitSignal;
    if (!manager->leading()) {
      MG_LOG(ERROR) << "another coordinator leads: leaving";
      return kExitTemporary;
    }
  }
}

int Run(const Flags& flags, ShutdownSignal* signal) {
  absl::StatusOr<std::unique_ptr<ResultsStore>> store =
      OpenInTime([&] { return OpenStore(flags.store); }, flags.store_wait, [&] { return signal->Wait(kTick).has_value(); });
  if (absl::IsCancelled(store.status())) return kExitSignal;
  if (!store.ok()) return Fail("store cannot be opened", store.status());

  CoordinatorMetrics metrics;
  const std::unique_ptr<JobManager> manager =
      JobManager::Create(store->get(), &ProtoJobCodec(), &Clock::Real(), &metrics, flags.manager);
  ServerOptions server_options = flags.server;
  server_options.store_uri = (*store)->uri();
  ShareCheckpoints(flags.model_roots, &server_options.share);
  auto server = Server::Start(manager.get(), store->get(), &metrics, server_options);
  if (!server.ok()) return Fail("cannot serve", server.status());
  const auto ready = [&manager, &metrics] {
    if (!manager->leading()) return absl::UnavailableError("this coordinator does not lead");
    return metrics.store_up() ? absl::OkStatus() : absl::UnavailableError("the results store is away");
  };
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<BackgroundSampler> sampler;
  bool with_dashboard = false;
  if (!flags.http.empty()) {
    const auto indexes = std::make_shared<JobIndexes>(manager.get(), store->get());
    absl::StatusOr<HttpServer::RequestHandler> pages = MakePages(flags, manager.get(), store->get(), indexes);
    if (!pages.ok()) return Fail("cannot serve HTTP", pages.status());
    with_dashboard = *pages != nullptr;
    auto listener = HttpServer::Start(flags.http, ServiceEndpoints(&metrics.registry(), ready), *std::move(pages));
    if (!listener.ok()) return Fail("cannot serve HTTP", listener.status());
    http = *std::move(listener);
    sampler = std::make_unique<BackgroundSampler>(kSample, SampleOf(flags, manager.get(), indexes, &metrics.sampled()));
  }
  MG_LOG(INFO) << "coordinator listens port=" << (*server)->port() << " worker_port=" << (*server)->worker_port()
               << " http_port=" << (http ? http->port() : 0) << " store=" << (*store)->uri();
  if (with_dashboard) {
    MG_LOG(INFO) << "dashboard at http://" << WithPort(flags.http, http->port()) << "/";
  }
  if (!flags.port_file.empty()) {
    const absl::Status written = WritePorts(flags, **server, http.get());
    if (!written.ok()) return Fail("cannot write the port file", written);
  }

  std::optional<int> code = Lead(manager.get(), store->get(), &metrics, signal);
  if (!code.has_value()) {
    MG_LOG(INFO) << "leading epoch=" << manager->epoch();
    code = ServeAsLeader(manager.get(), server->get(), &metrics, ready, signal);
  }
  (*server)->SetServing(false);
  manager->Stop();
  sampler.reset();
  (*server)->Shutdown(kShutdownGrace);
  MG_LOG(INFO) << "coordinator ended code=" << *code;
  return *code;
}

// A shell's soft limit is often 1024 descriptors: fewer than a fleet has workers.
void AllowManyConnections() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int Main(int argc, char** argv) {
  CLI::App app("merganser-coordinator: proposes candidates, hands them to workers, keeps the log of every job.",
               "merganser-coordinator");
  app.set_version_flag("--version", std::string("merganser-coordinator ") + kVersion);
  Flags flags;
  flags.manager.holder = absl::StrCat("coordinator-", getpid());
  AddFlags(&app, &flags);
  if (PrintedManPage(app, argc, argv)) return 0;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return ExplainParseError(app, e, argc, argv) ? 0 : kExitUsage;
  }
  if (flags.reflection >= 0) flags.server.reflection = flags.reflection == 1;
  const JobManagerOptions& manager = flags.manager;
  if (manager.heartbeat_interval <= absl::ZeroDuration() || manager.leader_lease <= absl::ZeroDuration() ||
      manager.heartbeat_interval * 2 > manager.lease) {
    std::cerr << "--leader-lease and --heartbeat must be above 0 and --lease at least twice --heartbeat; they are "
              << manager.leader_lease << ", " << manager.heartbeat_interval << " and " << manager.lease << "\n";
    return kExitUsage;
  }
  flags.server.session.heartbeat_interval = flags.manager.heartbeat_interval;
  flags.server.session.lease = flags.manager.lease;
  SetLogLevel(LogLevel::kInfo);
  AllowManyConnections();
  // Debian's Abseil watches the order of all locks, gRPC's too, under one lock of the whole process.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // What a client sends that is no message would be a line in the log, at its choice of length and number.
  google::protobuf::SetLogHandler(nullptr);
  ShutdownSignal signal;
  return Run(flags, &signal);
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }

// merganser-worker: evaluates candidates for a coordinator. Flags and the evaluator; the rest is worker/agent.
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/cli/address_check.h"
#include "common/cli/man_page.h"
#include "common/cli/merge_flags.h"
#include "common/cli/number_checks.h"
#include "common/cli/usage_error.h"
#include "common/rpc/duration_flag.h"
#include "common/rpc/shutdown_signal.h"
#include "common/store/open_in_time.h"
#include "common/store/open_store.h"
#include "common/transfer/url_source.h"
#include "worker/agent/checkpoint_provider.h"
#include "worker/agent/child_evaluator.h"
#include "worker/agent/device_info.h"
#include "worker/agent/worker_process.h"
#include "worker/checkpoint/hub_access.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/evaluate/local_library.h"

namespace merganser {
namespace {

constexpr int kExitUsage = 64, kExitUnavailable = 69, kExitConfig = 78, kExitSignal = 143;
constexpr absl::Duration kTick = absl::Seconds(1);

struct Flags {
  WorkerProcessOptions process;
  LocalOptions local;
  std::string store = "redis://127.0.0.1:6379";
  absl::Duration store_wait = absl::Seconds(30);
  CheckpointProviderOptions checkpoints;
  bool in_process = false;
  int evaluator_fd = -1;               // this is the process that evaluates
  std::vector<std::string> arguments;  // argv
  std::vector<std::string> labels;     // NAME=VALUE
};

std::string DefaultSpoolDir() {
  const char* const temporary = getenv("TMPDIR");
  return absl::StrCat(temporary != nullptr ? temporary : "/var/tmp", "/merganser-spool-", getuid());
}

void AddFlags(CLI::App* app, Flags* flags) {
  app->add_option(
         "--coordinator", flags->process.coordinators,
         "HOST:PORT of the coordinator's worker port; with stand-bys, all of them (repeat it, or separate by commas)")
      ->delimiter(',')
      ->check(HostPort())
      ->capture_default_str();
  app->add_option("--store", flags->store, "redis://HOST:PORT of the coordinator's store")->capture_default_str();
  AddDurationFlag(app, "--store-wait", &flags->store_wait, "to wait for the store at the start");
  app->add_option("--device", flags->local.device, "auto, cpu or cuda:N")->capture_default_str();
  app->add_option("--compute", flags->local.compute, "auto, fp32, bf16 (on the CPU: bf16 products, fp32 sums), fp16 (GPU)")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}))
      ->capture_default_str();
  app->add_flag("--cuda-graphs", flags->local.cuda_graphs, kCudaGraphsHelp);
  app->add_option("--threads", flags->local.threads, "CPU threads; 0: all")
      ->check(NonNegativeNumber())
      ->capture_default_str();
  AddMergeFlags(app, &flags->local.merge, &flags->local.merge_resident_mib);
  AddMergeAheadFlag(app, &flags->local.merge_ahead);
  app->add_flag("--allow-commands", flags->local.allow_commands,
                "benchmarks may run programs: a job's own (use: command), as this worker's user; what models write "
                "(humaneval, mbpp, code), in a sandbox");
  app->add_option("--model-root", flags->local.model_roots, "models must lie in one of these folders (repeatable)");
  app->add_option(
      "--checkpoint-cache", flags->checkpoints.cache.dir,
      "a folder for checkpoints that this worker lacks: fetched from --checkpoint-url, then from the coordinator");
  app->add_option("--cache-bytes", flags->checkpoints.cache.bytes_max,
                  "of that folder; what was not used for longest makes room")
      ->check(PositiveNumber())
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->default_str(absl::StrCat(flags->checkpoints.cache.bytes_max >> 30, "GB"));
  app->add_option("--checkpoint-url", flags->checkpoints.url_templates,
                  "file://, http(s):// or s3:// URL with {file} and with {content} or {model} (repeatable)");
  app->add_flag(
      "--verify-weights", flags->checkpoints.verify_weights,
      "compare the weights of checkpoints that lie here with the SHA-256 that --checkpoint-url or the coordinator knows, "
      "not only their samples");
  app->add_option("--fetch-rate", flags->checkpoints.access.bytes_per_second,
                  "bytes per second from --checkpoint-url; 0: no bound")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->capture_default_str();
  app->add_option("--name", flags->process.info.name, "shown to people; default: host and process");
  app->add_option("--label", flags->labels, "NAME=VALUE that a job may ask for under workers.labels (repeatable)");
  app->add_flag(
      "--in-process", flags->in_process,
      "evaluate in this process; otherwise in one of its own, so that a device's fault costs an attempt, not the worker");
  app->add_option("--evaluator-fd", flags->evaluator_fd)->group("");
  app->add_option("--http", flags->process.http, "HOST:PORT of /metrics, /healthz, /readyz; default: none")
      ->check(HostPort(/*may_be_empty=*/true));
  app->add_option("--spool-dir", flags->process.spool_dir, "where results wait while the store is away; \"\" for memory")
      ->capture_default_str();
  AddDurationFlag(app, "--exit-when-idle", &flags->process.exit_when_idle,
                  "leave after so long without work; default: never");
  app->add_option("--tls-ca", flags->process.security.tls_ca, "PEM CA of the coordinator; set: TLS");
  app->add_option("--tls-cert", flags->process.security.tls_cert, "PEM client certificate chain");
  app->add_option("--tls-key", flags->process.security.tls_key, "PEM client key");
  app->add_option("--token-file", flags->process.security.token_file, "file that holds this worker's token");
}

absl::StatusOr<std::unique_ptr<CandidateEvaluator>> EvaluatorHere(const Flags& flags) {
  MG_ASSIGN_OR_RETURN(LocalLibrary* const library, LoadLocalLibrary());
  LocalOptions local = flags.local;
  // What was fetched lies in the cache.
  if (!local.model_roots.empty() && !flags.checkpoints.cache.dir.empty())
    local.model_roots.push_back(flags.checkpoints.cache.dir);
  return library->CreateEvaluator(local);
}

// In a process of its own: this program with the same flags.
absl::StatusOr<std::unique_ptr<CandidateEvaluator>> EvaluatorBeside(const Flags& flags) {
  char self[4096] = "";
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0) return absl::InternalError("/proc/self/exe cannot be read");
  ChildEvaluatorOptions options;
  options.argv = flags.arguments;
  options.argv[0] = self;
  return ChildEvaluator::Start(options);
}

absl::StatusOr<CheckpointProviderOptions> ProviderOptions(const Flags& flags) {
  CheckpointProviderOptions options = flags.checkpoints;
  for (const std::string& url : options.url_templates) {
    if (absl::Status valid = CheckUrlTemplate(url); !valid.ok()) return Annotate(valid, "--checkpoint-url");
  }
  const auto environment = [](const char* name) -> const char* { return getenv(name); };
  options.model_roots = flags.local.model_roots;
  for (const std::string& root : options.model_roots) {
    if (!std::filesystem::is_directory(root)) {
      MG_LOG(WARNING) << "--model-root is no folder, no model is found there: " << root;
    }
  }
  options.access.s3 = S3AccessFrom(environment);
  options.resolve = [locator = ModelLocatorOptions{"", flags.local.model_roots, HubCacheFolder(environment)}](
                        const std::string& path) { return ResolveModel(path, locator); };
  for (const std::string& address : flags.process.coordinators) {
    MG_ASSIGN_OR_RETURN(ClientChannel channel, CreateChannel(address, flags.process.security));
    options.coordinators.push_back(std::move(channel));
  }
  return options;
}

int Run(const Flags& flags, ShutdownSignal* signal) {
  const bool here = flags.evaluator_fd >= 0 || flags.in_process;
  const absl::StatusOr<std::unique_ptr<CandidateEvaluator>> evaluator = here ? EvaluatorHere(flags) : EvaluatorBeside(flags);
  if (!evaluator.ok()) {
    MG_LOG(ERROR) << "no evaluator error=\"" << evaluator.status().message() << '"';
    return absl::IsUnavailable(evaluator.status()) ? kExitUnavailable : kExitConfig;
  }
  if (flags.evaluator_fd >= 0) return ServeEvaluator(flags.evaluator_fd, evaluator->get());
  const absl::StatusOr<std::unique_ptr<RecordStore>> store = OpenInTime(
      [&] { return OpenRecordStore(flags.store); }, flags.store_wait, [&] { return signal->Wait(kTick).has_value(); });
  if (absl::IsCancelled(store.status())) return kExitSignal;
  if (!store.ok()) {
    MG_LOG(ERROR) << "store cannot be opened error=\"" << store.status().message() << '"';
    return absl::IsUnavailable(store.status()) ? kExitUnavailable : kExitConfig;
  }
  absl::StatusOr<CheckpointProviderOptions> provider_options = ProviderOptions(flags);
  if (!provider_options.ok()) {
    MG_LOG(ERROR) << "worker cannot start error=\"" << provider_options.status().message() << '"';
    return kExitConfig;
  }
  CheckpointProvider provider(*std::move(provider_options));
  ProvidedEvaluator provided(&provider, evaluator->get());
  WorkerProcessOptions process = flags.process;
  if (!flags.checkpoints.cache.dir.empty()) process.cache_requests = [&provider] { return provider.cache_requests(); };
  return RunWorkerProcess(process, &provided, store->get(), signal);
}

int Main(int argc, char** argv) {
  CLI::App app("merganser-worker: merges and scores candidates for a coordinator.", "merganser-worker");
  app.set_version_flag("--version", std::string("merganser-worker ") + kVersion);
  Flags flags;
  flags.arguments.assign(argv, argv + argc);
  flags.process.spool_dir = DefaultSpoolDir();
  flags.process.info.name = DefaultWorkerName();
  AddFlags(&app, &flags);
  if (PrintedManPage(app, argc, argv)) return 0;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return ExplainParseError(app, e, argc, argv) ? 0 : kExitUsage;
  }
  flags.process.info.id = NewWorkerId();
  flags.process.info.version = kVersion;
  const DeviceInfo device = DescribeDevice(flags.local.device);
  flags.process.info.device = device.device;
  flags.process.info.memory_bytes = device.memory_bytes;
  flags.process.gpu_pci_bus_id = device.pci_bus_id;
  for (const std::string& label : flags.labels) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(label, absl::MaxSplits('=', 1));
    if (parts.first.empty() || parts.second.empty()) {
      std::cerr << "error: --label: '" << label << "' is not NAME=VALUE\n";
      return kExitUsage;
    }
    flags.process.info.labels[parts.first] = parts.second;
  }
  flags.process.info.hub_cache = AllowsHubCache(
      {"", flags.local.model_roots, HubCacheFolder([](const char* name) -> const char* { return getenv(name); }), nullptr});
  SetLogLevel(LogLevel::kInfo);
  ShutdownSignal signal;
  return Run(flags, &signal);
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }

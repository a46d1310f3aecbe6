// A worker as merganser-worker is, but for its evaluator, which sleeps and makes a number up. Only for tests: real sessions,
// real records, real reports. Every result that a coordinator acknowledged goes to --acked, a line each.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/base/version.h"
#include "common/rpc/shutdown_signal.h"
#include "common/store/open_store.h"
#include "worker/agent/agent.h"
#include "worker/agent/session_client.h"
#include "worker/agent/worker_process.h"

namespace merganser {
namespace {

struct Flags {
  std::vector<std::string> coordinators;
  std::string store, spool_dir, acked, name;
  int evaluate_ms = 50;
};

// acc = 1 - sum of (weight - 0.7)^2: the same for the same recipe, wherever it is evaluated.
class SleepingEvaluator final : public CandidateEvaluator {
 public:
  explicit SleepingEvaluator(int milliseconds) : milliseconds_(milliseconds) {}

  absl::StatusOr<JobFacts> Prepare(const JobSpec&, const PhaseCallback& phase, std::stop_token) override {
    phase("load");
    JobFacts facts;
    facts.num_layers = 2;
    return facts;
  }

  absl::StatusOr<Evaluation> Evaluate(const JobSpec&, const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback& phase, std::stop_token stop) override {
    phase("evaluate");
    const absl::Time end =
        absl::Now() + absl::Milliseconds(milliseconds_ / 2 + static_cast<int>(rng_.NextU64() % milliseconds_));
    while (absl::Now() < end) {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      absl::SleepFor(std::min(absl::Milliseconds(10), end - absl::Now()));
    }
    double loss = 0;
    for (const auto& stack : recipe.stacks) {
      for (const GroupSettings& settings : stack.settings) {
        for (const auto& parameters : settings.source_parameters) {
          for (const auto& [name, value] : parameters) loss += (value - 0.7) * (value - 0.7);
        }
      }
    }
    Evaluation evaluation;
    for (const std::string& name : benchmarks) evaluation.results.push_back({name, {{"acc", 1 - loss}}, {}});
    return evaluation;
  }

 private:
  const int milliseconds_;
  Rng rng_{static_cast<uint64_t>(getpid()), 1};
};

// Passes reports on and writes down what was acknowledged, before the agent hears of it.
class NotingLink final : public CoordinatorLink {
 public:
  NotingLink(CoordinatorLink* link, const std::string& path)
      : link_(*link), fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {}
  ~NotingLink() override { close(fd_); }

  absl::StatusOr<Disposition> Report(const AttemptReport& report) override {
    const absl::StatusOr<Disposition> answer = link_.Report(report);
    if (answer.ok() && !report.failure.has_value() && *answer == Disposition::kCommitted) {
      const std::string line = absl::StrCat(report.id.job_id, " ", report.id.candidate, " ", report.record_key, "\n");
      if (write(fd_, line.data(), line.size()) < 0) {
        MG_LOG(ERROR) << "cannot note an acknowledged result";
      }
    }
    return answer;
  }

 private:
  CoordinatorLink& link_;
  const int fd_;
};

int Main(int argc, char** argv) {
  CLI::App app("fake_worker: a worker that evaluates nothing");
  Flags flags;
  app.add_option("--coordinator", flags.coordinators)->delimiter(',')->required();
  app.add_option("--store", flags.store)->required();
  app.add_option("--spool-dir", flags.spool_dir)->required();
  app.add_option("--acked", flags.acked)->required();
  app.add_option("--name", flags.name);
  app.add_option("--evaluate-ms", flags.evaluate_ms);
  CLI11_PARSE(app, argc, argv);
  SetLogLevel(LogLevel::kInfo);
  ShutdownSignal signal;
  absl::StatusOr<std::unique_ptr<RecordStore>> store = absl::UnavailableError("");
  while (!store.ok()) {
    store = OpenRecordStore(flags.store);
    if (!store.ok() && signal.Wait(absl::Milliseconds(200)).has_value()) return 143;
  }
  std::vector<CoordinatorChannels> channels;
  for (const std::string& address : flags.coordinators)
    channels.push_back({*CreateChannel(address), *CreateChannel(address)});
  SessionClientOptions session;
  session.backoff_max = absl::Seconds(2);
  session.report_timeout = absl::Seconds(5);
  session.welcome_timeout = absl::Seconds(3);
  SessionClient client(std::move(channels), session);
  NotingLink link(&client, flags.acked);
  SleepingEvaluator evaluator(flags.evaluate_ms);
  AgentOptions options;
  options.info.id = NewWorkerId();
  options.info.name = flags.name;
  options.info.version = kVersion;
  options.info.device = "cpu";
  options.spool_dir = flags.spool_dir;
  options.reporter.backoff_max = absl::Seconds(2);
  Agent agent(&evaluator, store->get(), options, &link);
  client.Start(&agent);
  while (!signal.Wait(absl::Milliseconds(200)).has_value()) {
  }
  agent.Drain();
  agent.WaitIdle(absl::Seconds(5));
  client.Stop();
  agent.Stop();
  return 143;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }

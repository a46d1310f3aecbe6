// How long a coordinator needs from its start until it dispatches again, over the log of a search of many candidates.
//
//   replay_bench --candidates 100000
//
// The log is made first, by the job loop itself with a worker that evaluates a known function, in a store in memory, so the
// time is that of decoding, replaying and asking the optimizer again. Prints one JSON object.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <string>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "nlohmann/json.hpp"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

// Of this process, so that a busy machine does not count.
double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

int Main(int argc, char** argv) {
  CLI::App app("replay_bench: the start of a coordinator over a long log");
  int64_t candidates = 100000;
  int population = 50;
  app.add_option("--candidates", candidates)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--population", population)->check(CLI::PositiveNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  SetLogLevel(LogLevel::kError);

  World world;
  world.options.prefetch = population;
  world.NewLoop();
  world.AddWorker("w", 1);
  JobSpec spec = SphereSpec();
  spec.optimizer.numbers = {{"population", static_cast<double>(population)}};
  spec.budget.candidates = candidates + population;  // some are left to dispatch
  const std::string job = world.Submit(spec).id;
  while (world.Summary(job).search_finished < candidates) {
    world.loop->Tick();
    while (world.Work(*world.workers.at("w")).ok()) {
    }
    world.clock.Advance(absl::Milliseconds(1));
  }
  const int64_t events = world.Summary(job).seq;

  world.workers.clear();
  world.loop->Stop();
  world.loop.reset();
  const absl::Duration start = Clock::Real().Monotonic();
  const double cpu_start = CpuSeconds();
  world.options.reattach_window = absl::ZeroDuration();
  world.NewLoop();
  const absl::Duration led = Clock::Real().Monotonic();
  auto worker = world.AddWorker("next", 1);
  world.loop->Tick();
  const absl::Duration dispatched = Clock::Real().Monotonic();
  const double cpu_dispatched = CpuSeconds();
  if (worker->held.empty()) {
    std::fputs("nothing was dispatched\n", stderr);
    return 1;
  }
  const nlohmann::json result = {{"candidates", candidates},
                                 {"events", events},
                                 {"replay_seconds", absl::ToDoubleSeconds(led - start)},
                                 {"first_dispatch_seconds", absl::ToDoubleSeconds(dispatched - start)},
                                 {"first_dispatch_cpu_seconds", cpu_dispatched - cpu_start}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace merganser

int main(int argc, char** argv) { return merganser::Main(argc, argv); }

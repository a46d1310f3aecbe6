// watch, wait.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/connection.h"
#include "client/verb.h"
#include "client/watch.h"
#include "common/base/status_macros.h"
#include "common/rpc/duration_flag.h"

namespace merganser {
namespace {

struct WatchOptions {
  ConnectionOptions connection;
  std::string job, condition, timeout;
};

std::string Detached(const std::string& job) {
  return absl::StrCat("detached; the job goes on (`merganser cancel ", job, "` ends it)");
}

absl::StatusOr<int> Watch(const WatchOptions& options) {
  const Interrupt interrupt(Detached(options.job));
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  return WatchJob(*reader, interrupt, options.job, WatchDisplay::kProgress);
}

absl::StatusOr<int> Wait(const WatchOptions& options) {
  WaitCondition condition;
  if (!options.condition.empty()) {
    MG_ASSIGN_OR_RETURN(condition, WaitCondition::Parse(options.condition));
  }
  absl::Duration timeout = absl::InfiniteDuration();
  if (!options.timeout.empty() && !ParseDurationFlag(options.timeout, &timeout)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--timeout: '", options.timeout, "' is not a duration; write 90s, 45m or 1h30m"));
  }
  const Interrupt interrupt(Detached(options.job));
  MG_ASSIGN_OR_RETURN(const auto reader, OpenJobReader(options.connection));
  return WatchJob(*reader, interrupt, options.job, WatchDisplay::kNothing, condition, absl::Now() + timeout);
}

}  // namespace

void AddWatchCommands(CLI::App& app, Action* chosen) {
  auto watch = std::make_shared<WatchOptions>();
  CLI::App* verb = AddVerb(app, "watch", "Shows a job's progress until it ends; Ctrl-C detaches", "  merganser watch job-7",
                           watch, &Watch, chosen);
  verb->add_option("JOB", watch->job, "Id or name")->required();
  AddConnectionOptions(verb, &watch->connection, /*with_store=*/true);

  auto wait = std::make_shared<WatchOptions>();
  verb = AddVerb(app, "wait", "Waits silently for a job; exit 0: it holds, 1: it cannot any more, 4: time is up",
                 "  merganser wait job-7 --for 'best>=0.5' --timeout 2h\n  merganser wait job-7 "
                 "--for state=search",
                 wait, &Wait, chosen);
  verb->add_option("JOB", wait->job, "Id or name")->required();
  verb->add_option("--for", wait->condition,
                   "state=STATE or best>=NUMBER (of the first objective); unset: the job succeeds");
  verb->add_option("--timeout", wait->timeout, "90s, 45m, 1h30m (a plain number is seconds); unset: for ever")
      ->type_name("DURATION");
  AddConnectionOptions(verb, &wait->connection, true);
}

}  // namespace merganser

#include "client/watch.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/exit_code.h"
#include "client/output.h"
#include "client/progress.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"

namespace merganser {
namespace {

const std::vector<std::string>& States() {
  static const auto* const states = new std::vector<std::string>{
      "preparing", "baselines", "search", "finalists", "held_out", "succeeded", "failed", "cancelled", "damaged"};
  return *states;
}

// One that is damaged does not go on by itself.
bool IsOver(const std::string& state) {
  return state == "succeeded" || state == "failed" || state == "cancelled" || state == "damaged";
}

size_t Rank(const std::string& state) { return std::find(States().begin(), States().end(), state) - States().begin(); }

}  // namespace

absl::StatusOr<WaitCondition> WaitCondition::Parse(absl::string_view text) {
  WaitCondition condition;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "best>=")) {
    double value = 0;
    if (!absl::SimpleAtod(rest, &value))
      return absl::InvalidArgumentError(absl::StrCat("--for: '", rest, "' is not a number"));
    condition.best_at_least = value;
    return condition;
  }
  absl::ConsumePrefix(&rest, "state=");
  condition.state = absl::AsciiStrToLower(rest);
  if (Rank(condition.state) == States().size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--for: '", text, "' is neither best>=NUMBER nor a state", DidYouMean(rest, States())));
  }
  return condition;
}

std::optional<int> WaitCondition::Outcome(const v1::Job& job) const {
  if (best_at_least) {
    if (job.best_fitness_size() > 0 && job.best_fitness(0) >= *best_at_least) return exit_code::kOk;
    return IsOver(job.state()) ? std::optional<int>(exit_code::kJobFailed) : std::nullopt;
  }
  if (state.empty()) {
    if (!IsOver(job.state())) return std::nullopt;
    return job.state() == "succeeded" ? exit_code::kOk : exit_code::kJobFailed;
  }
  if (job.state() == state) return exit_code::kOk;
  if (IsOver(job.state())) {
    // A job that has succeeded has been through its search.
    return job.state() == "succeeded" && !IsOver(state) ? exit_code::kOk : exit_code::kJobFailed;
  }
  // A phase that was passed counts: a quick one may have come and gone between two looks.
  return !IsOver(state) && Rank(job.state()) > Rank(state) ? std::optional<int>(exit_code::kOk) : std::nullopt;
}

absl::StatusOr<int> WatchJob(JobReader& reader, const Interrupt& interrupt, const std::string& job, WatchDisplay display,
                             const WaitCondition& condition, absl::Time deadline) {
  Progress progress(std::cerr, DescribeTerminal(STDERR_FILENO));
  std::optional<int> outcome;
  std::optional<v1::Job> last;
  absl::Status error;
  bool first = true;
  const auto on_update = [&](const v1::WatchJobResponse& update) {
    if (update.has_job()) last = update.job();
    if (first && last && IsOver(last->state())) {
      // It was over before we looked: there is nothing to follow.
      outcome = condition.Outcome(*last);
      return false;
    }
    if (display == WatchDisplay::kProgress && last) {
      const absl::StatusOr<JobSummary> summary = FromProto(*last);
      error = summary.status();
      if (!error.ok()) return false;
      if (first) progress.SetQuietThrough(summary->seq);
      first = false;
      if (update.seq() > 0) {
        const absl::StatusOr<JobEvent> event = FromProto(update.event());
        error = event.status();
        if (!error.ok()) return false;
        progress.OnEvent(update.seq(), *event, *summary);
      }
      if (!IsTerminal(summary->phase)) progress.Draw(*summary, absl::Now());
    }
    if (last && !outcome) outcome = condition.Outcome(*last);
    // Until the log's end, so that its last lines are shown; a condition that holds before ends the
    // watch.
    return !(outcome && (display == WatchDisplay::kNothing || !IsOver(last->state())));
  };
  const absl::Status status = reader.Follow(job, 0, deadline, interrupt.token(), on_update);
  progress.Clear();
  MG_RETURN_IF_ERROR(error);
  if (absl::IsCancelled(status) && interrupt.signal() != 0) return exit_code::FromSignal(interrupt.signal());
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DeadlineExceededError(
        absl::StrCat("time is up: job ", job, " is in state ", last ? last->state() : "unknown"));
  }
  MG_RETURN_IF_ERROR(status);
  if (!outcome) return absl::InternalError(absl::StrCat("the watch of job ", job, " ended before the job"));
  // How it ended; a script that waits is told where that is not what it waited for.
  if (IsOver(last->state()) && (display == WatchDisplay::kProgress || *outcome != exit_code::kOk)) {
    std::string line = absl::StrCat(last->id(), " ", last->spec().name(), " ", last->state());
    if (!last->message().empty()) absl::StrAppend(&line, ": ", last->message());
    if (last->has_best_candidate()) {
      absl::StrAppend(&line, ", best ", FitnessText(last->best_fitness()), " (candidate ", last->best_candidate(), ")");
    }
    progress.Note(line);
  }
  return *outcome;
}

}  // namespace merganser

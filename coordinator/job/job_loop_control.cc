// The part of JobLoop that people use: jobs are cancelled, paused, resumed and updated, workers drained and quarantined.
#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "coordinator/dispatch/requirements.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/candidate_samples.h"
#include "coordinator/job/job_loop.h"
#include "coordinator/job/stage_budget.h"

namespace merganser {
namespace {

// What is wrong with a budget for a stage that has proposed so much; OK for one that has not begun.
absl::Status CheckBudget(const JobState& state, int stage, const Budget& budget) {
  const auto low = [&](absl::string_view field, int64_t bound, int64_t proposed) {
    return absl::InvalidArgumentError(absl::StrCat(StageField(stage), "budget.", field, ": ", bound, " is below the ",
                                                   proposed, " that are proposed already"));
  };
  if (stage >= static_cast<int>(state.stages().size())) return absl::OkStatus();
  const StageState& begun = state.stages()[stage];
  if (budget.candidates > 0 && budget.candidates < begun.proposed)
    return low("candidates", budget.candidates, begun.proposed);
  if (budget.generations > 0 && budget.generations < begun.generations) {
    return low("generations", budget.generations, begun.generations);
  }
  return absl::OkStatus();
}

}  // namespace

JobSummary JobLoop::SummaryOf(const Job& job) const {
  if (job.log.damaged()) return DamagedSummary(job);
  JobSummary summary = job.driver->Summary();
  Explain(job, &summary);
  return summary;
}

int JobLoop::SlotsFor(const Job& job) const {
  int slots = 0;
  const Needs needs = NeedsOf(job.log.state().spec());
  for (const auto& [id, worker] : fleet_.workers()) {
    if (worker.link == nullptr || worker.leaving() || !worker.quarantine.empty()) continue;
    if (Lacks(worker.info, needs).empty()) slots += std::max(1, worker.info.slots);
  }
  return slots;
}

void JobLoop::Explain(const Job& job, JobSummary* summary) const {
  const JobState& state = job.log.state();
  if (state.over() || state.queued().empty()) return;
  summary->waiting = WhyWaits(job, *state.queued().begin(), /*named=*/true, &summary->unschedulable);
}

std::string JobLoop::WhyWaits(const Job& job, int64_t number, bool named, std::string* unschedulable) const {
  const JobState& state = job.log.state();
  std::vector<const WorkerInfo*> known;
  int fitting = 0, slots = 0, held = 0;
  const Needs needs = NeedsOf(state.spec());
  for (const auto& [id, worker] : fleet_.workers()) {
    if (worker.link == nullptr || worker.leaving()) continue;
    known.push_back(&worker.info);
    if (!Lacks(worker.info, needs).empty()) continue;
    ++fitting;
    if (!worker.quarantine.empty()) continue;
    slots += worker.info.slots;
    held += std::min(worker.info.slots, leases_.CountOfWorker(id));
  }
  const bool unfit = !known.empty() && fitting == 0;
  Unfit why;
  if (unfit) why = WhyNoneFits(known, needs);
  *unschedulable = why.what;
  const std::string it = named ? absl::StrCat("candidate ", number) : "it";
  if (state.paused()) return "the job is paused";
  if (job.log.stalled() || !leadership_.acting()) return "the results store is away";
  if (known.empty()) return "no worker is connected";
  if (unfit) return why.message;
  if (slots == 0) return "every worker that fits is quarantined";
  if (const absl::Time ready = ReadyTime(state, number); ready > clock_.Now()) {
    return absl::StrCat(it, " is tried again in ", absl::FormatDuration(absl::Ceil(ready - clock_.Now(), absl::Seconds(1))),
                        ": ", state.Find(number)->attempts.back().message);
  }
  if (held >= slots) {
    const auto ahead = std::distance(state.queued().begin(), state.queued().find(number));
    return absl::StrCat("all ", slots, slots == 1 ? " slot" : " slots", " of the workers that fit are busy",
                        named || ahead == 0 ? "" : absl::StrCat("; ", ahead, " of the job's candidates come before it"));
  }
  if (KeepsScores(state.spec()) && state.Find(number)->attempts.empty()) {
    return absl::StrCat(it, " waits for what an equal recipe is being scored on");
  }
  return absl::StrCat(it, " waits for another worker than the one that had it");
}

absl::StatusOr<std::string> JobLoop::WhyCandidateWaits(const std::string& job, int64_t number) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  std::string unschedulable;
  const JobState& state = found->log.state();
  if (state.over()) return "";
  if (found->log.damaged()) return "the job is set aside, its log is damaged";
  if (state.waiting().contains(number)) return "it waits for the others of its race";
  if (!state.queued().contains(number)) return "";
  return WhyWaits(*found, number, /*named=*/false, &unschedulable);
}

absl::StatusOr<JobSummary> JobLoop::CancelJob(const std::string& job, const std::string& by) {
  MG_ASSIGN_OR_RETURN(Job * found, FindWhole(job));
  const JobState& state = found->log.state();
  if (state.seq() == 0) return absl::UnavailableError("the job is being created; retry");
  if (state.over()) return SummaryOf(*found);
  std::vector<EventBody> events;
  if (!by.empty()) events.emplace_back(ActionTaken{.kind = ActionKind::kCancelled, .by = by});
  for (EventBody& body : EndJob(state, JobPhase::kCancelled, "cancelled by its user")) events.push_back(std::move(body));
  MG_RETURN_IF_ERROR(Commit(*found, std::move(events)));
  return SummaryOf(*found);
}

absl::StatusOr<JobSummary> JobLoop::SetPaused(const std::string& job, bool paused, const std::string& by) {
  MG_ASSIGN_OR_RETURN(Job * found, FindWhole(job));
  const JobState& state = found->log.state();
  if (state.seq() == 0) return absl::UnavailableError("the job is being created; retry");
  if (state.over()) {
    return absl::FailedPreconditionError(absl::StrCat(state.id(), " is over: ", ToString(state.phase())));
  }
  // A stalled log may hold this very action.
  if (found->log.stalled()) return absl::UnavailableError(absl::StrCat(state.id(), ": the results store is away; retry"));
  if (state.paused() == paused) return SummaryOf(*found);
  std::vector<EventBody> events;
  events.emplace_back(ActionTaken{.kind = paused ? ActionKind::kPaused : ActionKind::kResumed, .by = by});
  MG_RETURN_IF_ERROR(Commit(*found, std::move(events)));
  return SummaryOf(*found);
}

absl::StatusOr<JobSummary> JobLoop::PauseJob(const std::string& job, const std::string& by) {
  return SetPaused(job, true, by);
}

absl::StatusOr<JobSummary> JobLoop::ResumeJob(const std::string& job, const std::string& by) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  if (found->log.damaged()) {
    MG_ASSIGN_OR_RETURN(found, ReadAgain(*found));
    if (found->log.state().over()) return SummaryOf(*found);
  }
  if (found->log.state().phase() != JobPhase::kFailed) return SetPaused(job, false, by);
  return ResumeFailed(*found, by);
}

absl::StatusOr<JobSummary> JobLoop::ResumeFailed(Job& job, const std::string& by) {
  const JobState& state = job.log.state();
  if (job.log.stalled()) return absl::UnavailableError(absl::StrCat(state.id(), ": the results store is away; retry"));
  const std::vector<int64_t> retry = state.ToRetry();
  const int last = static_cast<int>(state.stages().size()) - 1;
  // What may end otherwise without a candidate that is tried again: the search, if it may propose more.
  const bool proposes = state.ended_in() == JobPhase::kSearch &&
                        (last < 0 || (last + 1 < NumStages(state.spec()) && state.best().has_value()) ||
                         JobDriver::BudgetAllowsMore(state, last, StageOf(state.spec(), last).budget, clock_.Now()));
  if (retry.empty() && !proposes) {
    return absl::FailedPreconditionError(
        absl::StrCat(state.id(), " failed, and nothing of it would go otherwise if it were tried again: ", state.message()));
  }
  std::vector<EventBody> events;
  events.emplace_back(
      ActionTaken{.kind = ActionKind::kResumed,
                  .by = by,
                  .message = absl::StrCat("after its failure; ", retry.size(),
                                          retry.size() == 1 ? " candidate is" : " candidates are", " tried again"),
                  .reopens = true});
  MG_RETURN_IF_ERROR(Commit(job, std::move(events)));
  return SummaryOf(job);
}

absl::StatusOr<JobSummary> JobLoop::UpdateJob(const std::string& job, const JobUpdate& update, const std::string& by) {
  MG_ASSIGN_OR_RETURN(Job * found, FindWhole(job));
  const JobState& state = found->log.state();
  if (state.seq() == 0) return absl::UnavailableError("the job is being created; retry");
  if (found->log.stalled()) return absl::UnavailableError(absl::StrCat(state.id(), ": the results store is away; retry"));
  if (state.phase() == JobPhase::kCancelled) {
    return absl::FailedPreconditionError(absl::StrCat(state.id(), " is cancelled, which is for good; submit it again"));
  }
  MG_ASSIGN_OR_RETURN(const JobSpec updated, UpdatedSpec(state.spec(), update));
  const JobSettings before = SettingsOf(state.spec());
  ActionTaken action{.kind = ActionKind::kUpdated, .by = by, .settings = SettingsOf(updated)};
  action.message = SettingsChange(before, *action.settings);
  if (action.message.empty()) return SummaryOf(*found);
  const int last = NumStages(updated) - 1;
  for (int stage = 0; stage <= last; ++stage) {
    if (before.budgets[stage] == action.settings->budgets[stage]) continue;
    if (stage + 1 < static_cast<int>(state.stages().size())) {
      return absl::FailedPreconditionError(absl::StrCat(StageField(stage), "budget: that stage is over"));
    }
    MG_RETURN_IF_ERROR(CheckBudget(state, stage, action.settings->budgets[stage]));
  }
  const bool failed = state.phase() == JobPhase::kFailed;  // it goes on once it is resumed
  const bool after_search = !failed && state.phase() > JobPhase::kSearch && !state.stages().empty();
  action.reopens = after_search && before.budgets[last] != action.settings->budgets[last] &&
                   JobDriver::BudgetAllowsMore(state, last, action.settings->budgets[last], clock_.Now());
  if (state.over() && !failed && !action.reopens) {
    const std::string binds = BindingBudget(state, last, action.settings->budgets[last], update.fields, clock_.Now());
    return absl::FailedPreconditionError(absl::StrCat(state.id(), " has succeeded; only a budget beyond the ",
                                                      state.stages().back().proposed, " candidates of its last stage",
                                                      " lets it go on", binds.empty() ? "" : ", and ", binds));
  }
  std::vector<EventBody> events;
  events.emplace_back(std::move(action));
  MG_RETURN_IF_ERROR(Commit(*found, std::move(events)));
  return SummaryOf(*found);
}

absl::StatusOr<std::string> JobLoop::WhatBinds(const std::string& job, const JobUpdate& update) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  const JobState& state = found->log.state();
  const int stage = update.stage.value_or(NumStages(state.spec()) - 1);
  if (found->log.damaged() || stage < 0 || stage >= NumStages(state.spec())) return "";
  return BindingBudget(state, stage, StageOf(state.spec(), stage).budget, update.fields, clock_.Now());
}

// --- workers ----------------------------------------------------------------------------------

absl::StatusOr<std::vector<WorkerStatus>> JobLoop::ListWorkers() {
  MG_RETURN_IF_ERROR(Ready());
  return fleet_.Statuses(leases_);
}

void JobLoop::LogWorkerAction(ActionKind kind, const std::string& worker_id, const std::string& why, const std::string& by,
                              absl::Time until) {
  MG_LOG(INFO) << ToString(kind) << " worker=" << worker_id << " by=\"" << by << "\" reason=\"" << why << "\"";
  for (const auto& job : jobs_) {
    if (job->log.state().seq() == 0 || job->log.state().over() || job->log.stalled()) continue;
    std::vector<EventBody> events;
    events.emplace_back(ActionTaken{.kind = kind,
                                    .by = by,
                                    .message = why.empty() ? worker_id : absl::StrCat(worker_id, ": ", why),
                                    .worker = worker_id,
                                    .until = until});
    (void)Commit(*job, std::move(events));
  }
}

absl::Status JobLoop::DrainWorker(const std::string& id_or_name, const std::string& by) {
  MG_RETURN_IF_ERROR(Ready());
  MG_ASSIGN_OR_RETURN(const std::string worker_id, fleet_.IdOf(id_or_name));
  Fleet::Worker* worker = fleet_.Find(worker_id);
  if (!std::exchange(worker->drained, true)) LogWorkerAction(ActionKind::kWorkerDrained, worker_id, "", by);
  if (worker->link != nullptr) worker->link->Drain();
  dispatch_due_ = true;
  return absl::OkStatus();
}

absl::Status JobLoop::QuarantineWorker(const std::string& id_or_name, absl::Duration time, const std::string& reason,
                                       const std::string& by) {
  MG_RETURN_IF_ERROR(Ready());
  if (time <= absl::ZeroDuration()) return absl::InvalidArgumentError("duration: must be above 0");
  MG_ASSIGN_OR_RETURN(const std::string worker_id, fleet_.IdOf(id_or_name));
  Fleet::Worker* worker = fleet_.Find(worker_id);
  worker->quarantine = reason.empty() ? "by its operator" : reason;
  worker->quarantine_end = clock_.Now() + time;
  LogWorkerAction(ActionKind::kWorkerQuarantined, worker_id, worker->quarantine, by, worker->quarantine_end);
  dispatch_due_ = true;
  return SaveQuarantines();
}

absl::Status JobLoop::ReleaseWorker(const std::string& id_or_name, const std::string& by) {
  MG_RETURN_IF_ERROR(Ready());
  MG_ASSIGN_OR_RETURN(const std::string worker_id, fleet_.IdOf(id_or_name));
  Fleet::Worker* worker = fleet_.Find(worker_id);
  if (worker->quarantine.empty()) return absl::OkStatus();
  worker->quarantine.clear();
  worker->quarantine_end = absl::InfinitePast();
  worker->strikes = 0;
  health_.Forget(worker_id);
  LogWorkerAction(ActionKind::kWorkerReleased, worker_id, "", by);
  dispatch_due_ = true;
  return SaveQuarantines();
}

void JobLoop::Quarantine(const std::string& worker_id, const std::string& why) {
  Fleet::Worker* worker = fleet_.Find(worker_id);
  if (worker == nullptr || !worker->quarantine.empty()) return;
  fleet_.Quarantine(*worker, why, clock_.Now());
  LogWorkerAction(ActionKind::kWorkerQuarantined, worker_id, why, kByCoordinator, worker->quarantine_end);
  quarantines_changed_ = true;
}

absl::Status JobLoop::SaveQuarantines() {
  std::string now_held = fleet_.SaveQuarantines();
  quarantines_changed_ = now_held != quarantines_;
  if (!quarantines_changed_) return absl::OkStatus();
  const absl::Duration start = clock_.Monotonic();
  const absl::Status status = store_.PutFleet(epoch(), now_held);
  if (observer_ != nullptr) observer_->OnStoreCommit("fleet", clock_.Monotonic() - start, status);
  if (absl::IsAborted(status)) return LoseLead();
  if (!status.ok()) {
    quarantines_retry_at_ = clock_.Monotonic() + kRecordRetry;
    return status;
  }
  quarantines_ = std::move(now_held);
  quarantines_changed_ = false;
  return absl::OkStatus();
}

void JobLoop::MendQuarantines() {
  if (quarantines_.empty() || quarantines_changed_) return;
  const absl::StatusOr<std::string> stored = store_.GetFleet();
  if (!stored.ok() || *stored == quarantines_) return;
  MG_LOG(ERROR) << "the store had lost the quarantines, they are stored again";
  quarantines_ = *stored;
  quarantines_changed_ = true;
}

void JobLoop::EndQuarantines() {
  for (const auto& [worker, why] : std::exchange(verdicts_, {})) Quarantine(worker, why);
  for (const std::string& worker : fleet_.EndQuarantines(clock_.Now())) {
    health_.Forget(worker);
    LogWorkerAction(ActionKind::kWorkerReleased, worker, "its time is over", kByCoordinator);
    quarantines_changed_ = dispatch_due_ = true;
  }
}

}  // namespace merganser

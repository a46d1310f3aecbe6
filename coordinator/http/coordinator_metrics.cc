#include "coordinator/http/coordinator_metrics.h"

#include <algorithm>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/version.h"

namespace merganser {
namespace {

using Boundaries = prometheus::Histogram::BucketBoundaries;

Boundaries DispatchBuckets() { return {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600}; }
Boundaries AttemptBuckets() { return {0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 7200}; }
Boundaries StoreBuckets() { return {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5}; }
Boundaries RpcBuckets() { return {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30}; }

prometheus::Family<prometheus::Counter>& Counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
prometheus::Family<prometheus::Gauge>& Gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}
prometheus::Family<prometheus::Histogram>& Histogram(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

constexpr const char* kUnfit[] = {"memory", "device", "labels", "hub_cache"};  // JobSummary::unschedulable

std::string Text(absl::string_view text) { return std::string(text); }

std::string ObjectiveLabel(const Objective& objective) { return absl::StrCat(objective.benchmark, ".", objective.metric); }

}  // namespace

CoordinatorMetrics::CoordinatorMetrics()
    : candidates_created_(Counter(registry_, "merganser_candidates_created_total", "Candidates proposed, all kinds.")),
      candidates_finished_(Counter(registry_, "merganser_candidates_finished_total", "Candidates by terminal state.")),
      attempts_finished_(Counter(registry_, "merganser_attempts_finished_total",
                                 "Attempts by outcome: recorded, or the class of the failure.")),
      retries_(Counter(registry_, "merganser_retries_total", "Further attempts, by the failure before.")),
      jobs_finished_(Counter(registry_, "merganser_jobs_finished_total", "Jobs by terminal state.")),
      result_records_(Counter(registry_, "merganser_result_records_total", "Reports of workers, by disposition.")),
      store_errors_(Counter(registry_, "merganser_store_errors_total", "Failed operations of the store.")),
      rpc_requests_(Counter(registry_, "merganser_rpc_requests_total", "Calls that ended, by method and code.")),
      rpc_rate_limited_(Counter(registry_, "merganser_rpc_rate_limited_total",
                                "Calls refused because their client made too many, by method.")),
      late_results_(Counter(registry_, "merganser_late_results_total",
                            "Results of attempts that had ended already, by disposition: committed ones are used.")),
      session_disconnects_(Counter(registry_, "merganser_session_disconnects_total",
                                   "Sessions of workers that ended: goodbye, lost, replaced by the worker's next one.")),
      speculative_attempts_(Counter(registry_, "merganser_speculative_attempts_total",
                                    "Second attempts beside slow ones that ended: won, lost, failed.")),
      queue_depth_(Gauge(registry_, "merganser_queue_depth", "Candidates that wait for a worker.")),
      unschedulable_(Gauge(registry_, "merganser_unschedulable_candidates",
                           "Candidates that wait though no known worker fits, by what the workers lack: memory, device, "
                           "labels, hub_cache (what Hub ids need).")),
      attempts_running_(Gauge(registry_, "merganser_attempts_running", "Candidates that a worker holds.")),
      workers_(Gauge(registry_, "merganser_workers", "Workers by state.")),
      slots_(Gauge(registry_, "merganser_slots", "Candidates that connected workers evaluate at once: used and free.")),
      job_active_(Gauge(registry_, "merganser_job_active", "1 while the job is not over; 0 while it is paused.")),
      job_best_fitness_(Gauge(registry_, "merganser_job_best_fitness", "Of the best candidate so far.")),
      job_generation_(Gauge(registry_, "merganser_job_generation", "Current generation.")),
      job_generation_best_(Gauge(registry_, "merganser_job_generation_best_fitness",
                                 "Of the newest generation of which a candidate has finished.")),
      job_generation_mean_(
          Gauge(registry_, "merganser_job_generation_mean_fitness", "Mean of that generation's finished candidates.")),
      job_generation_deviation_(Gauge(registry_, "merganser_job_generation_fitness_deviation",
                                      "Standard deviation of that generation's finished candidates.")),
      job_candidates_remaining_(Gauge(registry_, "merganser_job_candidates_remaining",
                                      "Proposals that the budget still allows; absent where it names no count.")),
      job_last_progress_(Gauge(registry_, "merganser_job_last_progress_timestamp_seconds",
                               "When a candidate last finished, as Unix time.")),
      jobs_damaged_(
          Gauge(registry_, "merganser_jobs_damaged", "Jobs that are set aside because their log cannot be replayed.")
              .Add({})),
      leader_(Gauge(registry_, "merganser_leader", "1 while this coordinator leads.").Add({})),
      leader_epoch_(Gauge(registry_, "merganser_leader_epoch",
                          "Epoch under which this coordinator last led; grows with "
                          "every change of the leader.")
                        .Add({})),
      store_up_(
          Gauge(registry_, "merganser_store_up", "1 unless the last operation of the store could not reach it.").Add({})),
      store_regressions_(Counter(registry_, "merganser_store_regressions_total",
                                 "Events that the store had lost and that were stored again.")
                             .Add({})),
      replay_seconds_(
          Gauge(registry_, "merganser_replay_seconds", "Time to read every job's log when this coordinator began to lead.")
              .Add({})),
      queue_oldest_(Gauge(registry_, "merganser_queue_oldest_timestamp_seconds",
                          "Since when the candidate waits that waits longest, as Unix time; 0 if none waits.")
                        .Add({})),
      heartbeat_lag_(
          Gauge(registry_, "merganser_heartbeat_lag_seconds", "Longest time since the last heartbeat of a connected worker.")
              .Add({})),
      dispatch_wait_(
          Histogram(registry_, "merganser_dispatch_wait_seconds", "From queued to assigned.").Add({}, DispatchBuckets())),
      optimizer_step_(Histogram(registry_, "merganser_optimizer_step_seconds",
                                "Time to tell a generation to the optimizer and to ask it for the next.")
                          .Add({}, StoreBuckets())),
      attempt_duration_(Histogram(registry_, "merganser_attempt_duration_seconds", "Time of finished attempts, by phase.")),
      store_commit_(Histogram(registry_, "merganser_store_commit_seconds", "Time of the store's operations.")),
      rpc_duration_(Histogram(registry_, "merganser_rpc_duration_seconds", "Time of unary calls, by method.")) {
  Gauge(registry_, "merganser_build_info", "1, with the build in the labels.").Add({{"version", kVersion}}).Set(1);
  // Closed labels start at 0: increase() of a series that begins with its first failure would miss that failure.
  candidates_created_.Add({});
  for (const auto state : {CandidateState::kSucceeded, CandidateState::kFailed, CandidateState::kCancelled}) {
    candidates_finished_.Add({{"state", Text(ToString(state))}});
  }
  attempts_finished_.Add({{"outcome", "recorded"}});
  for (const auto failure :
       {FailureClass::kWorkerLost, FailureClass::kReleased, FailureClass::kTransient, FailureClass::kInfeasible,
        FailureClass::kCrashed, FailureClass::kTimedOut, FailureClass::kOutOfMemory, FailureClass::kUnavailable}) {
    attempts_finished_.Add({{"outcome", Text(ToString(failure))}});
  }
  for (const auto phase : {JobPhase::kSucceeded, JobPhase::kFailed, JobPhase::kCancelled}) {
    jobs_finished_.Add({{"state", Text(ToString(phase))}});
  }
  for (const auto disposition :
       {Disposition::kCommitted, Disposition::kDuplicate, Disposition::kSuperseded, Disposition::kRejected}) {
    result_records_.Add({{"disposition", Text(ToString(disposition))}});
    late_results_.Add({{"disposition", Text(ToString(disposition))}});
  }
  for (const char* reason : {"goodbye", "lost", "replaced"}) session_disconnects_.Add({{"reason", reason}});
  for (const char* outcome : {"won", "lost", "failed"}) speculative_attempts_.Add({{"outcome", outcome}});
  for (const char* reason : kUnfit) unschedulable_.Add({{"reason", reason}}).Set(0);
  // A coordinator that cannot reach its store at the start leaves; until the first operation there is nothing to tell.
  store_up_.Set(1);
  queue_depth_.Add({}).Set(0);
  attempts_running_.Add({}).Set(0);
  SampleWorkers({});
}

void CoordinatorMetrics::OnEvent(const std::string& job_id, const JobEvent& event) {
  if (const auto* proposed = std::get_if<CandidatesProposed>(&event.body)) {
    candidates_created_.Add({}).Increment(static_cast<double>(proposed->candidates.size()));
    absl::MutexLock lock(&mu_);
    GenerationFitness& generations = generations_[job_id];
    for (const Candidate& candidate : proposed->candidates) {
      generations.Proposed(candidate);
      queued_[{job_id, candidate.number}] = event.time;
    }
  } else if (const auto* started = std::get_if<AttemptStarted>(&event.body)) {
    absl::MutexLock lock(&mu_);
    queued_.erase({job_id, started->candidate});
    ++live_[{job_id, started->candidate}];
    if (auto failed = failed_.extract({job_id, started->candidate})) {
      retries_.Add({{"class", Text(ToString(failed.mapped()))}}).Increment();
    }
  } else if (const auto* ended = std::get_if<AttemptEnded>(&event.body)) {
    attempts_finished_.Add({{"outcome", Text(ToString(ended->failure))}}).Increment();
    absl::MutexLock lock(&mu_);
    const std::pair<std::string, int64_t> candidate{job_id, ended->candidate};
    if (--live_[candidate] > 0) return;  // another attempt goes on
    live_.erase(candidate);
    failed_[candidate] = ended->failure;
    queued_[candidate] = event.time;
  } else if (const auto* finished = std::get_if<CandidateFinished>(&event.body)) {
    candidates_finished_.Add({{"state", Text(ToString(finished->state))}}).Increment();
    // The record of one that a race stopped was counted with its block.
    if (!finished->record_key.empty() && !finished->stop.has_value()) {
      attempts_finished_.Add({{"outcome", "recorded"}}).Increment();
      ObservePhases(finished->timings);
    }
    absl::MutexLock lock(&mu_);
    live_.erase({job_id, finished->candidate});
    failed_.erase({job_id, finished->candidate});
    queued_.erase({job_id, finished->candidate});
    last_progress_[job_id] = event.time;
    generations_[job_id].Finished(finished->candidate, finished->fitness);
  } else if (const auto* scored = std::get_if<BlockScored>(&event.body)) {
    if (scored->attempt > 0) {
      attempts_finished_.Add({{"outcome", "recorded"}}).Increment();
      ObservePhases(scored->timings);
    }
    absl::MutexLock lock(&mu_);
    live_.erase({job_id, scored->candidate});
    failed_.erase({job_id, scored->candidate});
    queued_.erase({job_id, scored->candidate});
    last_progress_[job_id] = event.time;
  } else if (const auto* advanced = std::get_if<RaceAdvanced>(&event.body)) {
    absl::MutexLock lock(&mu_);
    for (const int64_t candidate : advanced->candidates) queued_[{job_id, candidate}] = event.time;
  } else if (const auto* phase = std::get_if<PhaseStarted>(&event.body); phase != nullptr && IsTerminal(phase->phase)) {
    jobs_finished_.Add({{"state", Text(ToString(phase->phase))}}).Increment();
    absl::MutexLock lock(&mu_);
    ForgetCandidates(job_id);
  }
}

void CoordinatorMetrics::ForgetCandidates(const std::string& job_id) {
  const auto of_job = [&](const auto& entry) { return entry.first.first == job_id; };
  std::erase_if(live_, of_job);
  std::erase_if(failed_, of_job);
  std::erase_if(queued_, of_job);
}

void CoordinatorMetrics::ObservePhases(const PhaseTimings& timings) {
  const auto observe = [this](const char* phase, double seconds) {
    if (seconds > 0) attempt_duration_.Add({{"phase", phase}}, AttemptBuckets()).Observe(seconds);
  };
  observe("materialize", timings.materialize);
  observe("tokenize", timings.tokenize);
  observe("prefill", timings.prefill);
  observe("decode", timings.decode);
  observe("score", timings.score);
}

void CoordinatorMetrics::OnReport(Disposition disposition) {
  result_records_.Add({{"disposition", Text(ToString(disposition))}}).Increment();
}

void CoordinatorMetrics::OnStoreCommit(absl::string_view operation, absl::Duration took, const absl::Status& status) {
  SetStoreUp(!absl::IsUnavailable(status));
  if (status.ok()) {
    store_commit_.Add({{"op", Text(operation)}}, StoreBuckets()).Observe(absl::ToDoubleSeconds(took));
  } else {
    store_errors_.Add({{"op", Text(operation)}, {"code", absl::StatusCodeToString(status.code())}}).Increment();
  }
}

void CoordinatorMetrics::OnDispatched(absl::Duration waited) { dispatch_wait_.Observe(absl::ToDoubleSeconds(waited)); }

void CoordinatorMetrics::OnStoreRegression(const std::string& /*job_id*/, int64_t events) {
  store_regressions_.Increment(static_cast<double>(events));
}

void CoordinatorMetrics::OnLateResult(Disposition disposition) {
  late_results_.Add({{"disposition", Text(ToString(disposition))}}).Increment();
}

void CoordinatorMetrics::OnOptimizerStep(absl::Duration took) { optimizer_step_.Observe(absl::ToDoubleSeconds(took)); }

void CoordinatorMetrics::OnWorkerDisconnected(absl::string_view reason) {
  session_disconnects_.Add({{"reason", Text(reason)}}).Increment();
}

void CoordinatorMetrics::OnSpeculation(absl::string_view outcome) {
  speculative_attempts_.Add({{"outcome", Text(outcome)}}).Increment();
}

void CoordinatorMetrics::OnCall(absl::string_view method, absl::StatusCode code, absl::Duration took) {
  rpc_requests_.Add({{"method", Text(method)}, {"code", absl::StatusCodeToString(code)}}).Increment();
  if (method != "Session" && method != "WatchJob") {  // streams last as long as their clients like
    rpc_duration_.Add({{"method", Text(method)}}, RpcBuckets()).Observe(absl::ToDoubleSeconds(took));
  }
}

void CoordinatorMetrics::OnRateLimited(absl::string_view method) {
  rpc_rate_limited_.Add({{"method", Text(method)}}).Increment();
}

void CoordinatorMetrics::Sample(JobManager& manager) {
  const bool leads = manager.leading();
  leader_.Set(leads ? 1 : 0);
  if (!leads) return;
  leader_epoch_.Set(static_cast<double>(manager.epoch()));
  const absl::StatusOr<std::vector<WorkerStatus>> workers = manager.ListWorkers();
  const absl::StatusOr<std::vector<JobSummary>> jobs = manager.ListJobs();
  if (!workers.ok() || !jobs.ok()) return;

  SampleWorkers(*workers);

  int64_t queued = 0, running = 0, damaged = 0;
  std::map<std::string, int64_t> unschedulable;
  std::set<std::string> over;
  absl::Time oldest = absl::InfiniteFuture();
  {
    absl::MutexLock lock(&mu_);
    for (const JobSummary& job : *jobs) {
      if (job.phase != JobPhase::kDamaged) continue;
      ++damaged;
      ForgetCandidates(job.id);  // no event tells that they wait no longer
    }
    for (const auto& [id, labels] : active_) over.insert(id);
    for (const auto& [candidate, since] : queued_) oldest = std::min(oldest, since);
  }
  queue_oldest_.Set(oldest == absl::InfiniteFuture() ? 0 : absl::ToDoubleSeconds(oldest - absl::UnixEpoch()));
  for (const JobSummary& job : *jobs) {
    if (IsTerminal(job.phase)) continue;
    queued += job.queued;
    if (!job.unschedulable.empty()) unschedulable[job.unschedulable] += job.queued;
    running += job.running;
    over.erase(job.id);
    SampleJob(job);
  }
  for (const std::string& id : over) RemoveJob(id);
  jobs_damaged_.Set(static_cast<double>(damaged));
  queue_depth_.Add({}).Set(static_cast<double>(queued));
  attempts_running_.Add({}).Set(static_cast<double>(running));
  for (const char* reason : kUnfit) unschedulable_.Add({{"reason", reason}}).Set(static_cast<double>(unschedulable[reason]));
}

void CoordinatorMetrics::SampleWorkers(const std::vector<WorkerStatus>& workers) {
  std::map<std::string, int> states = {{"idle", 0}, {"busy", 0}, {"draining", 0}, {"quarantined", 0}, {"lost", 0}};
  int used = 0, all = 0;
  double lag = 0;
  const absl::Time now = absl::Now();
  for (const WorkerStatus& worker : workers) {
    ++states[worker.state];
    if (worker.state == "lost") continue;
    lag = std::max(lag, absl::ToDoubleSeconds(now - worker.last_heartbeat_time));
    // A prefetched candidate waits on the worker without a slot.
    used += std::min(static_cast<int>(worker.running.size()), worker.info.slots);
    all += worker.info.slots;
  }
  for (const auto& [state, count] : states) workers_.Add({{"state", state}}).Set(count);
  slots_.Add({{"kind", "used"}}).Set(used);
  slots_.Add({{"kind", "free"}}).Set(all - used);
  heartbeat_lag_.Set(lag);
}

void CoordinatorMetrics::SampleJob(const JobSummary& job) {
  const prometheus::Labels labels = {{"job_id", job.id}};
  absl::Time progress = job.create_time;
  {
    absl::MutexLock lock(&mu_);
    active_[job.id];
    if (const auto it = last_progress_.find(job.id); it != last_progress_.end()) progress = it->second;
  }
  job_active_.Add(labels).Set(job.paused ? 0 : 1);
  job_generation_.Add(labels).Set(static_cast<double>(job.generation));
  job_last_progress_.Add(labels).Set(absl::ToDoubleSeconds(progress - absl::UnixEpoch()));
  if (job.search_total > 0) {
    job_candidates_remaining_.Add(labels).Set(static_cast<double>(job.search_total - job.search_finished));
  }
  std::vector<GenerationFitness::Statistics> generation;
  {
    absl::MutexLock lock(&mu_);
    generation = generations_[job.id].objectives();
    for (const Objective& objective : job.spec.objectives) active_[job.id].insert(ObjectiveLabel(objective));
  }
  for (size_t i = 0; i < job.spec.objectives.size(); ++i) {
    const prometheus::Labels of_objective = {{"job_id", job.id}, {"objective", ObjectiveLabel(job.spec.objectives[i])}};
    if (i < job.best_fitness.size()) job_best_fitness_.Add(of_objective).Set(job.best_fitness[i]);
    if (i >= generation.size() || generation[i].count == 0) continue;
    job_generation_best_.Add(of_objective).Set(generation[i].best);
    job_generation_mean_.Add(of_objective).Set(generation[i].mean);
    job_generation_deviation_.Add(of_objective).Set(generation[i].deviation());
  }
}

void CoordinatorMetrics::RemoveJob(const std::string& job_id) {
  const prometheus::Labels labels = {{"job_id", job_id}};
  for (Gauges* family : {&job_active_, &job_generation_, &job_last_progress_, &job_candidates_remaining_}) {
    family->Remove(&family->Add(labels));
  }
  absl::MutexLock lock(&mu_);
  for (const std::string& objective : active_[job_id]) {
    const prometheus::Labels of_objective = {{"job_id", job_id}, {"objective", objective}};
    for (Gauges* family : {&job_best_fitness_, &job_generation_best_, &job_generation_mean_, &job_generation_deviation_}) {
      family->Remove(&family->Add(of_objective));
    }
  }
  active_.erase(job_id);
  last_progress_.erase(job_id);
  generations_.erase(job_id);
}

}  // namespace merganser

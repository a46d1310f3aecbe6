#include "coordinator/http/coordinator_metrics.h"

#include <algorithm>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
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
prometheus::Family<prometheus::Histogram>& Histogram(prometheus::Registry& registry, const char* name,
                                                     const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

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
      queue_depth_(Gauge(registry_, "merganser_queue_depth", "Candidates that wait for a worker.")),
      attempts_running_(Gauge(registry_, "merganser_attempts_running", "Candidates that a worker holds.")),
      workers_(Gauge(registry_, "merganser_workers", "Workers by state.")),
      job_active_(Gauge(registry_, "merganser_job_active", "1 while the job is not over.")),
      job_best_fitness_(Gauge(registry_, "merganser_job_best_fitness", "Of the best candidate so far.")),
      job_generation_(Gauge(registry_, "merganser_job_generation", "Current generation.")),
      job_candidates_remaining_(Gauge(registry_, "merganser_job_candidates_remaining",
                                      "Proposals that the budget still allows; absent where it names no count.")),
      job_last_progress_(Gauge(registry_, "merganser_job_last_progress_timestamp_seconds",
                               "When a candidate last finished, as Unix time.")),
      leader_(Gauge(registry_, "merganser_leader", "1 while this coordinator leads.").Add({})),
      store_up_(Gauge(registry_, "merganser_store_up", "1 if the last operation of the store was answered.").Add({})),
      dispatch_wait_(Histogram(registry_, "merganser_dispatch_wait_seconds", "From queued to assigned.")
                         .Add({}, DispatchBuckets())),
      attempt_duration_(Histogram(registry_, "merganser_attempt_duration_seconds", "Time of finished attempts, by phase.")),
      store_commit_(Histogram(registry_, "merganser_store_commit_seconds", "Time of the store's operations.")),
      rpc_duration_(Histogram(registry_, "merganser_rpc_duration_seconds", "Time of unary calls, by method.")) {
  Gauge(registry_, "merganser_build_info", "1, with the build in the labels.").Add({{"version", kVersion}}).Set(1);
  queue_depth_.Add({}).Set(0);
  attempts_running_.Add({}).Set(0);
  for (const char* state : {"idle", "busy", "draining", "lost"}) workers_.Add({{"state", state}}).Set(0);
}

void CoordinatorMetrics::OnEvent(const std::string& job_id, const JobEvent& event) {
  if (const auto* proposed = std::get_if<CandidatesProposed>(&event.body)) {
    candidates_created_.Add({}).Increment(static_cast<double>(proposed->candidates.size()));
  } else if (const auto* started = std::get_if<AttemptStarted>(&event.body)) {
    absl::MutexLock lock(&mu_);
    if (auto failed = failed_.extract({job_id, started->candidate})) {
      retries_.Add({{"class", Text(ToString(failed.mapped()))}}).Increment();
    }
  } else if (const auto* ended = std::get_if<AttemptEnded>(&event.body)) {
    attempts_finished_.Add({{"outcome", Text(ToString(ended->failure))}}).Increment();
    absl::MutexLock lock(&mu_);
    failed_[{job_id, ended->candidate}] = ended->failure;
  } else if (const auto* finished = std::get_if<CandidateFinished>(&event.body)) {
    candidates_finished_.Add({{"state", Text(ToString(finished->state))}}).Increment();
    if (!finished->record_key.empty()) {
      attempts_finished_.Add({{"outcome", "recorded"}}).Increment();
      ObservePhases(finished->timings);
    }
    absl::MutexLock lock(&mu_);
    failed_.erase({job_id, finished->candidate});
    last_progress_[job_id] = event.time;
  } else if (const auto* phase = std::get_if<PhaseStarted>(&event.body); phase != nullptr && IsTerminal(phase->phase)) {
    jobs_finished_.Add({{"state", Text(ToString(phase->phase))}}).Increment();
    absl::MutexLock lock(&mu_);
    std::erase_if(failed_, [&](const auto& entry) { return entry.first.first == job_id; });
  }
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
  store_up_.Set(absl::IsUnavailable(status) ? 0 : 1);
  if (status.ok()) {
    store_commit_.Add({{"op", Text(operation)}}, StoreBuckets()).Observe(absl::ToDoubleSeconds(took));
  } else {
    store_errors_.Add({{"op", Text(operation)}, {"code", absl::StatusCodeToString(status.code())}}).Increment();
  }
}

void CoordinatorMetrics::OnDispatched(absl::Duration waited) { dispatch_wait_.Observe(absl::ToDoubleSeconds(waited)); }

void CoordinatorMetrics::OnCall(absl::string_view method, absl::StatusCode code, absl::Duration took) {
  rpc_requests_.Add({{"method", Text(method)}, {"code", absl::StatusCodeToString(code)}}).Increment();
  if (method != "Session" && method != "WatchJob") {  // streams last as long as their clients like
    rpc_duration_.Add({{"method", Text(method)}}, RpcBuckets()).Observe(absl::ToDoubleSeconds(took));
  }
}

void CoordinatorMetrics::Sample(JobManager& manager) {
  const bool leads = manager.leading();
  leader_.Set(leads ? 1 : 0);
  if (!leads) return;
  const absl::StatusOr<std::vector<WorkerStatus>> workers = manager.ListWorkers();
  const absl::StatusOr<std::vector<JobSummary>> jobs = manager.ListJobs();
  if (!workers.ok() || !jobs.ok()) return;

  std::map<std::string, int> states = {{"idle", 0}, {"busy", 0}, {"draining", 0}, {"lost", 0}};
  for (const WorkerStatus& worker : *workers) ++states[worker.state];
  for (const auto& [state, count] : states) workers_.Add({{"state", state}}).Set(count);

  int64_t queued = 0, running = 0;
  std::set<std::string> over;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, labels] : active_) over.insert(id);
  }
  for (const JobSummary& job : *jobs) {
    if (IsTerminal(job.phase)) continue;
    queued += job.queued;
    running += job.running;
    over.erase(job.id);
    SampleJob(job);
  }
  for (const std::string& id : over) RemoveJob(id);
  queue_depth_.Add({}).Set(static_cast<double>(queued));
  attempts_running_.Add({}).Set(static_cast<double>(running));
}

void CoordinatorMetrics::SampleJob(const JobSummary& job) {
  const prometheus::Labels labels = {{"job_id", job.id}};
  absl::Time progress = job.create_time;
  {
    absl::MutexLock lock(&mu_);
    active_[job.id];
    if (const auto it = last_progress_.find(job.id); it != last_progress_.end()) progress = it->second;
  }
  job_active_.Add(labels).Set(1);
  job_generation_.Add(labels).Set(static_cast<double>(job.generation));
  job_last_progress_.Add(labels).Set(absl::ToDoubleSeconds(progress - absl::UnixEpoch()));
  if (job.search_total > 0) {
    job_candidates_remaining_.Add(labels).Set(static_cast<double>(job.search_total - job.search_finished));
  }
  for (size_t i = 0; i < std::min(job.best_fitness.size(), job.spec.objectives.size()); ++i) {
    const std::string objective = ObjectiveLabel(job.spec.objectives[i]);
    job_best_fitness_.Add({{"job_id", job.id}, {"objective", objective}}).Set(job.best_fitness[i]);
    absl::MutexLock lock(&mu_);
    active_[job.id].insert(objective);
  }
}

void CoordinatorMetrics::RemoveJob(const std::string& job_id) {
  const prometheus::Labels labels = {{"job_id", job_id}};
  for (Gauges* family : {&job_active_, &job_generation_, &job_last_progress_, &job_candidates_remaining_}) {
    family->Remove(&family->Add(labels));
  }
  absl::MutexLock lock(&mu_);
  for (const std::string& objective : active_[job_id]) {
    job_best_fitness_.Remove(&job_best_fitness_.Add({{"job_id", job_id}, {"objective", objective}}));
  }
  active_.erase(job_id);
  last_progress_.erase(job_id);
}

}  // namespace merganser

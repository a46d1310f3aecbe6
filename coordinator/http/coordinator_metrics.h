// The metrics of a coordinator; all names start with merganser_, units are in the names.
#ifndef MERGANSER_COORDINATOR_HTTP_COORDINATOR_METRICS_H_
#define MERGANSER_COORDINATOR_HTTP_COORDINATOR_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/http/generation_fitness.h"
#include "coordinator/http/sampled_metrics.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/rpc/service_context.h"

namespace merganser {

// Counters and histograms come from what it observes; gauges from Sample, which the main thread calls every second. Labels
// are from closed sets, but for job_id and a job's objectives, whose series exist only while the job is active. Every
// metric, with its help, is in docs/metrics.md. Thread-safe.
class CoordinatorMetrics final : public JobObserver, public RpcObserver {
 public:
  CoordinatorMetrics();

  // JobObserver.
  void OnEvent(const std::string& job_id, const JobEvent& event) override;
  void OnReport(Disposition disposition) override;
  void OnStoreCommit(absl::string_view operation, absl::Duration took, const absl::Status& status) override;
  void OnDispatched(absl::Duration waited) override;
  void OnStoreRegression(const std::string& job_id, int64_t events) override;
  void OnLateResult(Disposition disposition) override;
  void OnOptimizerStep(absl::Duration took) override;
  void OnWorkerDisconnected(absl::string_view reason) override;
  void OnSpeculation(absl::string_view outcome) override;

  // RpcObserver.
  void OnCall(absl::string_view method, absl::StatusCode code, absl::Duration took) override;
  void OnRateLimited(absl::string_view method) override;

  // Asks `manager` for jobs and workers and sets the gauges. While it does not lead, they keep their values, but for
  // merganser_leader.
  void Sample(JobManager& manager);

  // How long this coordinator took to read every job's log when it began to lead.
  void OnReplayed(absl::Duration took) { replay_seconds_.Set(absl::ToDoubleSeconds(took)); }

  // Whether the last operation of the store could reach it; one that stands by is asked for no operation, and says it here.
  bool store_up() const { return store_up_.Value() > 0; }
  void SetStoreUp(bool up) { store_up_.Set(up ? 1 : 0); }

  // Set by who measures them.
  SampledMetrics& sampled() { return sampled_; }

  const prometheus::Registry& registry() const { return registry_; }

 private:
  using Counters = prometheus::Family<prometheus::Counter>;
  using Gauges = prometheus::Family<prometheus::Gauge>;
  using Histograms = prometheus::Family<prometheus::Histogram>;

  void ObservePhases(const PhaseTimings& timings);
  void SampleWorkers(const std::vector<WorkerStatus>& workers);
  void SampleJob(const JobSummary& job);
  // What is kept of its candidates until they end.
  void ForgetCandidates(const std::string& job_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Drops all series of `job_id`.
  void RemoveJob(const std::string& job_id);

  prometheus::Registry registry_;
  SampledMetrics sampled_{&registry_};
  Counters& candidates_created_;
  Counters& candidates_finished_;
  Counters& attempts_finished_;
  Counters& retries_;
  Counters& jobs_finished_;
  Counters& result_records_;
  Counters& store_errors_;
  Counters& rpc_requests_;
  Counters& rpc_rate_limited_;
  Counters& late_results_;
  Counters& session_disconnects_;
  Counters& speculative_attempts_;
  Gauges& queue_depth_;
  Gauges& unschedulable_;
  Gauges& attempts_running_;
  Gauges& workers_;
  Gauges& slots_;
  Gauges& job_active_;
  Gauges& job_best_fitness_;
  Gauges& job_generation_;
  Gauges& job_generation_best_;
  Gauges& job_generation_mean_;
  Gauges& job_generation_deviation_;
  Gauges& job_candidates_remaining_;
  Gauges& job_last_progress_;
  prometheus::Gauge& jobs_damaged_;
  prometheus::Gauge& leader_;
  prometheus::Gauge& leader_epoch_;
  prometheus::Gauge& store_up_;
  prometheus::Counter& store_regressions_;
  prometheus::Gauge& replay_seconds_;
  prometheus::Gauge& queue_oldest_;
  prometheus::Gauge& heartbeat_lag_;
  prometheus::Histogram& dispatch_wait_;
  prometheus::Histogram& optimizer_step_;
  Histograms& attempt_duration_;
  Histograms& store_commit_;
  Histograms& rpc_duration_;

  absl::Mutex mu_;
  // (job, candidate) -> attempts that have not ended, of those that this coordinator saw begin.
  std::map<std::pair<std::string, int64_t>, int> live_ ABSL_GUARDED_BY(mu_);
  // (job, candidate) -> the failure that its next attempt retries.
  std::map<std::pair<std::string, int64_t>, FailureClass> failed_ ABSL_GUARDED_BY(mu_);
  // (job, candidate) -> since when it waits; those that wait since before this coordinator led are not in it.
  std::map<std::pair<std::string, int64_t>, absl::Time> queued_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, absl::Time> last_progress_ ABSL_GUARDED_BY(mu_);  // active jobs
  std::map<std::string, GenerationFitness> generations_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::set<std::string>> active_ ABSL_GUARDED_BY(mu_);  // job id -> its objectives' labels
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_COORDINATOR_METRICS_H_

// The metrics of a worker process; all names start with merganser_.
#ifndef MERGANSER_WORKER_AGENT_WORKER_METRICS_H_
#define MERGANSER_WORKER_AGENT_WORKER_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "worker/agent/agent_observer.h"
#include "worker/agent/cache_requests.h"
#include "worker/agent/gpu_sensor.h"

namespace merganser {

// worker_attempts_total{outcome}, worker_busy_seconds_total, worker_phase_seconds_total{phase},
// worker_record_duration_seconds, worker_reports_total{disposition}, eval_tokens_total{kind}, spool_results,
// spool_free_bytes, blob_cache_requests_total{result}, gpu_memory_bytes{kind}, gpu_busy_ratio, gpu_temperature_celsius,
// build_info{version}; docs/metrics.md has them with their help. Thread-safe.
class WorkerMetrics final : public AgentObserver {
 public:
  WorkerMetrics();

  void OnAttempt(absl::string_view outcome, absl::Duration took) override;
  void OnEvaluation(const Evaluation& evaluation) override;
  void OnReported(absl::string_view disposition, absl::Duration recording) override;
  void OnSpool(int64_t results) override;

  // Of a worker on a GPU; without a call its metrics have no series.
  void SetGpu(const GpuReading& reading);
  // Of the file system that the spool is on.
  void SetSpoolFree(int64_t bytes);
  // All since the process began, of a worker with a checkpoint cache; without a call its metric has no series. One thread.
  void SetCacheRequests(const CacheRequests& requests);

  const prometheus::Registry& registry() const { return registry_; }

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& attempts_;
  prometheus::Counter& busy_seconds_;
  prometheus::Family<prometheus::Counter>& phase_seconds_;
  prometheus::Family<prometheus::Counter>& reports_;
  prometheus::Family<prometheus::Counter>& tokens_;
  prometheus::Counter& merge_bytes_;
  prometheus::Gauge& spool_;
  prometheus::Family<prometheus::Gauge>& spool_free_;
  prometheus::Family<prometheus::Counter>& cache_requests_;
  prometheus::Family<prometheus::Gauge>& gpu_memory_;
  prometheus::Family<prometheus::Gauge>& gpu_busy_;
  prometheus::Family<prometheus::Gauge>& gpu_temperature_;
  prometheus::Histogram& recording_;
  CacheRequests counted_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_WORKER_METRICS_H_

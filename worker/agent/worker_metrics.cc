#include "worker/agent/worker_metrics.h"

#include <string>

#include "common/base/version.h"

namespace merganser {

WorkerMetrics::WorkerMetrics()
    : attempts_(prometheus::BuildCounter()
                    .Name("merganser_worker_attempts_total")
                    .Help("Attempts that left the evaluator, by outcome.")
                    .Register(registry_)),
      busy_seconds_(prometheus::BuildCounter()
                        .Name("merganser_worker_busy_seconds_total")
                        .Help("Time in the evaluator, of attempts that left it; over all slots.")
                        .Register(registry_)
                        .Add({})),
      phase_seconds_(prometheus::BuildCounter()
                         .Name("merganser_worker_phase_seconds_total")
                         .Help("Time of evaluations, by phase; of a merge ahead, what was left to wait for.")
                         .Register(registry_)),
      reports_(prometheus::BuildCounter()
                   .Name("merganser_worker_reports_total")
                   .Help("Reports that the coordinator answered, by disposition.")
                   .Register(registry_)),
      tokens_(prometheus::BuildCounter()
                  .Name("merganser_eval_tokens_total")
                  .Help("Tokens read (prompt) and written (generated) by evaluations.")
                  .Register(registry_)),
      merge_bytes_(prometheus::BuildCounter()
                       .Name("merganser_merge_bytes_total")
                       .Help("Bytes of weights merged for evaluations.")
                       .Register(registry_)
                       .Add({})),
      spool_(prometheus::BuildGauge()
                 .Name("merganser_spool_results")
                 .Help("Results on disk that wait for the store.")
                 .Register(registry_)
                 .Add({})),
      spool_free_(prometheus::BuildGauge()
                      .Name("merganser_spool_free_bytes")
                      .Help("Free on the disk of the spool.")
                      .Register(registry_)),
      cache_requests_(
          prometheus::BuildCounter()
              .Name("merganser_blob_cache_requests_total")
              .Help("Checkpoints that the worker's cache was asked for, by result: hit, or miss (to be fetched).")
              .Register(registry_)),
      gpu_memory_(prometheus::BuildGauge()
                      .Name("merganser_gpu_memory_bytes")
                      .Help("Memory of the worker's GPU, by all processes: used and free.")
                      .Register(registry_)),
      gpu_busy_(prometheus::BuildGauge()
                    .Name("merganser_gpu_busy_ratio")
                    .Help("Share of the last second in which the worker's GPU ran something.")
                    .Register(registry_)),
      gpu_temperature_(prometheus::BuildGauge()
                           .Name("merganser_gpu_temperature_celsius")
                           .Help("Temperature of the worker's GPU.")
                           .Register(registry_)),
      recording_(prometheus::BuildHistogram()
                     .Name("merganser_worker_record_duration_seconds")
                     .Help("From the end of an evaluation until the coordinator answered its report.")
                     .Register(registry_)
                     .Add({}, prometheus::Histogram::BucketBoundaries{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 10, 60, 600})) {
  prometheus::BuildGauge()
      .Name("merganser_build_info")
      .Help("1, with the build in the labels.")
      .Register(registry_)
      .Add({{"version", kVersion}})
      .Set(1);
}

void WorkerMetrics::OnAttempt(absl::string_view outcome, absl::Duration took) {
  attempts_.Add({{"outcome", std::string(outcome)}}).Increment();
  busy_seconds_.Increment(absl::ToDoubleSeconds(took));
}

void WorkerMetrics::OnEvaluation(const Evaluation& evaluation) {
  const auto add = [this](const char* phase, double seconds) {
    if (seconds > 0) phase_seconds_.Add({{"phase", phase}}).Increment(seconds);
  };
  add("materialize", evaluation.timings.materialize);
  add("tokenize", evaluation.timings.tokenize);
  add("prefill", evaluation.timings.prefill);
  add("decode", evaluation.timings.decode);
  add("score", evaluation.timings.score);
  merge_bytes_.Increment(static_cast<double>(evaluation.merged_bytes));
  tokens_.Add({{"kind", "prompt"}}).Increment(static_cast<double>(evaluation.prompt_tokens));
  tokens_.Add({{"kind", "generated"}}).Increment(static_cast<double>(evaluation.generated_tokens));
}

void WorkerMetrics::OnReported(absl::string_view disposition, absl::Duration recording) {
  reports_.Add({{"disposition", std::string(disposition)}}).Increment();
  recording_.Observe(absl::ToDoubleSeconds(recording));
}

void WorkerMetrics::OnSpool(int64_t results) { spool_.Set(static_cast<double>(results)); }

void WorkerMetrics::SetSpoolFree(int64_t bytes) { spool_free_.Add({}).Set(static_cast<double>(bytes)); }

void WorkerMetrics::SetCacheRequests(const CacheRequests& requests) {
  cache_requests_.Add({{"result", "hit"}}).Increment(static_cast<double>(requests.hits - counted_.hits));
  cache_requests_.Add({{"result", "miss"}}).Increment(static_cast<double>(requests.misses - counted_.misses));
  counted_ = requests;
}

void WorkerMetrics::SetGpu(const GpuReading& reading) {
  gpu_memory_.Add({{"kind", "used"}}).Set(static_cast<double>(reading.memory_used_bytes));
  gpu_memory_.Add({{"kind", "free"}}).Set(static_cast<double>(reading.memory_total_bytes - reading.memory_used_bytes));
  gpu_busy_.Add({}).Set(reading.busy);
  gpu_temperature_.Add({}).Set(reading.celsius);
}

}  // namespace merganser

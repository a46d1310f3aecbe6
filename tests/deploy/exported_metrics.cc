#include "tests/deploy/exported_metrics.h"

#include <prometheus/registry.h>

#include <cstdint>
#include <string>

#include "coordinator/http/coordinator_metrics.h"
#include "tests/coordinator/http/listed_jobs.h"
#include "worker/agent/worker_metrics.h"

namespace merganser {
namespace {

std::string TypeWord(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter:
      return "counter";
    case prometheus::MetricType::Gauge:
      return "gauge";
    case prometheus::MetricType::Histogram:
      return "histogram";
    default:
      return "other";
  }
}

void AddAll(const prometheus::Registry& registry, const std::string& binary, std::map<std::string, ExportedMetric>* all) {
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    ExportedMetric& metric = (*all)[family.name];
    metric.type = TypeWord(family.type);
    metric.help = family.help;
    metric.binaries.insert(binary);
    for (const prometheus::ClientMetric& series : family.metric) {
      for (const prometheus::ClientMetric::Label& label : series.label) metric.labels.insert(label.name);
    }
  }
}

void DriveCoordinator(CoordinatorMetrics& metrics) {
  Candidate candidate;
  candidate.number = 1;
  candidate.generation = 0;
  metrics.OnEvent("job-1", {absl::UnixEpoch(), CandidatesProposed{{candidate}}});
  metrics.OnEvent("job-1", {absl::UnixEpoch(), AttemptEnded{1, 1, FailureClass::kWorkerLost, ""}});
  metrics.OnEvent("job-1", {absl::UnixEpoch(), AttemptStarted{1, 2, "", ""}});
  CandidateFinished finished;
  finished.candidate = 1;
  finished.fitness = {0.5};
  finished.record_key = "result:1";
  finished.timings.decode = 1;
  metrics.OnEvent("job-1", {absl::UnixEpoch(), finished});
  metrics.OnStoreCommit("append", absl::Milliseconds(1), absl::OkStatus());
  metrics.OnStoreCommit("append", absl::Milliseconds(1), absl::InternalError("full"));
  metrics.OnDispatched(absl::Milliseconds(1));
  metrics.OnCall("GetJob", absl::StatusCode::kOk, absl::Milliseconds(1));
  metrics.OnRateLimited("GetJob");
  ListedJobs manager;
  manager.jobs.resize(1);
  manager.jobs[0].id = "job-1";
  manager.jobs[0].spec.objectives = {{"ja_math", "acc"}};
  manager.jobs[0].best_fitness = {0.5};
  manager.jobs[0].search_total = 10;
  metrics.Sample(manager);
  metrics.sampled().SetCertificateExpiry(absl::UnixEpoch());
  metrics.sampled().SetDelayedFsyncs(1);
  JobFront front;
  front.objectives = {"ja_math.acc", "en_math.acc"};
  front.points = {{0.5, 0.5}};
  front.volume = 0.25;
  metrics.sampled().SetFronts({{"job-1", front}});
}

void DriveWorker(WorkerMetrics& metrics) {
  metrics.OnAttempt("succeeded", absl::Seconds(1));
  Evaluation evaluation;
  evaluation.timings.decode = 1;
  metrics.OnEvaluation(evaluation);
  metrics.OnReported("committed", absl::Milliseconds(1));
  metrics.OnSpool(0);
  metrics.SetSpoolFree(1);
  metrics.SetCacheRequests({1, 1});
  metrics.SetGpu({1, 2, 0.5, 40});
}

}  // namespace

std::map<std::string, ExportedMetric> ExportedMetrics() {
  std::map<std::string, ExportedMetric> all;
  CoordinatorMetrics coordinator;
  DriveCoordinator(coordinator);
  AddAll(coordinator.registry(), "coordinator", &all);
  WorkerMetrics worker;
  DriveWorker(worker);
  AddAll(worker.registry(), "worker", &all);
  return all;
}

}  // namespace merganser

// The metrics of a coordinator that are costly to measure: they take a file, a question to the store or a calculation.
// BackgroundSampler measures them at intervals; here they become series.
#ifndef MERGANSER_COORDINATOR_HTTP_SAMPLED_METRICS_H_
#define MERGANSER_COORDINATOR_HTTP_SAMPLED_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/http/job_front.h"

namespace merganser {

// None has a series before it is set. One thread sets; any scrapes.
class SampledMetrics {
 public:
  // `registry` outlives it.
  explicit SampledMetrics(prometheus::Registry* registry);

  // Of the certificate that is served.
  void SetCertificateExpiry(absl::Time expiry);
  // The server's own count, which falls back when the server begins anew.
  void SetDelayedFsyncs(int64_t count);
  // By job id; a job that is not there any more loses its series.
  void SetFronts(const std::map<std::string, JobFront>& fronts);

 private:
  using Gauges = prometheus::Family<prometheus::Gauge>;
  struct Shown {
    std::vector<std::string> objectives;
    size_t points = 0;
    bool volume = false;
  };
  prometheus::Gauge& Point(const std::string& job_id, const std::string& objective, size_t rank);
  // Drops the points of `job_id` from `first` on.
  void RemovePoints(const std::string& job_id, const Shown& shown, size_t first);

  Gauges& certificate_expiry_;
  prometheus::Family<prometheus::Counter>& delayed_fsyncs_;
  Gauges& front_size_;
  Gauges& front_hypervolume_;
  Gauges& front_fitness_;
  int64_t counted_fsyncs_ = 0;
  std::map<std::string, Shown> shown_;  // job id -> its series
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_SAMPLED_METRICS_H_

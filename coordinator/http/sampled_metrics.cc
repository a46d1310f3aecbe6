#include "coordinator/http/sampled_metrics.h"

#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

prometheus::Family<prometheus::Gauge>& Gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

SampledMetrics::SampledMetrics(prometheus::Registry* registry)
    : certificate_expiry_(Gauge(*registry, "merganser_tls_certificate_expiry_timestamp_seconds",
                                "When the first certificate of the served chain ends, as Unix time; absent without TLS.")),
      delayed_fsyncs_(prometheus::BuildCounter()
                          .Name("merganser_store_aof_delayed_fsyncs_total")
                          .Help("Writes of Redis that waited for an fsync in progress, as it counts them itself.")
                          .Register(*registry)),
      front_size_(Gauge(*registry, "merganser_job_front_size",
                        "Candidates that no other beats in every objective, of a job with several objectives.")),
      front_hypervolume_(Gauge(*registry, "merganser_job_front_hypervolume",
                               "Hypervolume of that front; absent where it would take too long.")),
      front_fitness_(Gauge(*registry, "merganser_job_front_fitness",
                           "Up to 32 points of that front, by rank along the first objective.")) {}

void SampledMetrics::SetCertificateExpiry(absl::Time expiry) {
  certificate_expiry_.Add({}).Set(absl::ToDoubleSeconds(expiry - absl::UnixEpoch()));
}

void SampledMetrics::SetDelayedFsyncs(int64_t count) {
  // A count below the last one is a new server's.
  const int64_t more = count < counted_fsyncs_ ? count : count - counted_fsyncs_;
  delayed_fsyncs_.Add({}).Increment(static_cast<double>(more));
  counted_fsyncs_ = count;
}

prometheus::Gauge& SampledMetrics::Point(const std::string& job_id, const std::string& objective, size_t rank) {
  return front_fitness_.Add({{"job_id", job_id}, {"objective", objective}, {"rank", absl::StrCat(rank)}});
}

void SampledMetrics::RemovePoints(const std::string& job_id, const Shown& shown, size_t first) {
  for (size_t rank = first; rank < shown.points; ++rank) {
    for (const std::string& objective : shown.objectives) front_fitness_.Remove(&Point(job_id, objective, rank));
  }
}

void SampledMetrics::SetFronts(const std::map<std::string, JobFront>& fronts) {
  for (auto shown = shown_.begin(); shown != shown_.end();) {
    const std::string& id = shown->first;
    if (fronts.contains(id)) {
      ++shown;
      continue;
    }
    RemovePoints(id, shown->second, 0);
    front_size_.Remove(&front_size_.Add({{"job_id", id}}));
    if (shown->second.volume) front_hypervolume_.Remove(&front_hypervolume_.Add({{"job_id", id}}));
    shown = shown_.erase(shown);
  }
  for (const auto& [id, front] : fronts) {
    Shown& shown = shown_[id];
    RemovePoints(id, shown, front.points.size());
    front_size_.Add({{"job_id", id}}).Set(static_cast<double>(front.size));
    if (front.volume.has_value()) {
      front_hypervolume_.Add({{"job_id", id}}).Set(*front.volume);
    } else if (shown.volume) {
      front_hypervolume_.Remove(&front_hypervolume_.Add({{"job_id", id}}));
    }
    for (size_t rank = 0; rank < front.points.size(); ++rank) {
      for (size_t o = 0; o < front.objectives.size(); ++o) Point(id, front.objectives[o], rank).Set(front.points[rank][o]);
    }
    shown = {front.objectives, front.points.size(), front.volume.has_value()};
  }
}

}  // namespace merganser

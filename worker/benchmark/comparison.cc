#include "worker/benchmark/comparison.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/average_metrics.h"
#include "worker/benchmark/metric_keys.h"
#include "worker/benchmark/paired_statistics.h"
#include "worker/benchmark/sampled_metric.h"

namespace merganser {
namespace {

// Samples that are drawn from together: a benchmark, or an average's member.
struct Stratum {
  size_t first = 0, count = 0;
  std::vector<MetricKey> keys;
  std::vector<std::string> names;  // of the keys, as results call them
  // What is drawn: one sample, or all completions of one problem; places from `first` on.
  std::vector<std::vector<int>> units = {};

  void SetUnits(const std::vector<SampleOutcome>& samples) {
    std::map<double, size_t> places;
    for (size_t i = 0; i < count; ++i) {
      const auto problem = samples[first + i].values.find("problem");
      const bool is_new = problem == samples[first + i].values.end() || places.emplace(problem->second, units.size()).second;
      if (is_new) units.emplace_back();
      units[is_new ? units.size() - 1 : places[problem->second]].push_back(static_cast<int>(i));
    }
  }
};

std::vector<Stratum> StrataOf(const ResolvedBenchmark& benchmark, const std::vector<SampleOutcome>& samples) {
  if (benchmark.definition.average_of.empty()) {
    Stratum all{0, samples.size(), MetricKeys(benchmark.definition), {}};
    for (const MetricKey& key : all.keys) all.names.push_back(key.name);
    all.SetUnits(samples);
    return {all};
  }
  const AverageKey average = AverageKeys(benchmark.definition, benchmark.parts).front();
  std::vector<Stratum> strata;
  for (size_t i = 0, at = 0; i < benchmark.parts.size(); ++i) {
    Stratum member{at, 0, {}, {}};
    for (; at < samples.size(); ++at, ++member.count) {
      const auto it = samples[at].values.find("member");
      if (it == samples[at].values.end() || it->second != static_cast<double>(i)) break;
    }
    if (member.count == 0) continue;
    const std::string& main = average.of[i];
    for (const MetricKey& key : MetricKeys(benchmark.parts[i])) {
      if (key.name == main) member.keys = {key};
    }
    member.SetUnits(samples);
    if (!main.empty()) member.names = {absl::StrCat(benchmark.parts[i].name, ".", main)};
    strata.push_back(std::move(member));
  }
  return strata;
}

bool AllZeroOrOne(const std::vector<double>& values) {
  return !values.empty() && std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; });
}

// One model's metrics, all strata's, then for an average their mean, by their numbers of samples where `by_size`.
class ResampledModel {
 public:
  ResampledModel(const BenchmarkResult& result, const std::vector<Stratum>& strata, bool average, bool by_size)
      : average_(average) {
    for (const Stratum& stratum : strata) {
      const auto samples = absl::MakeConstSpan(result.samples).subspan(stratum.first, stratum.count);
      metrics_.emplace_back();
      if (!stratum.keys.empty()) weights_.push_back(by_size ? static_cast<double>(stratum.units.size()) : 1);
      for (const MetricKey& key : stratum.keys) metrics_.back().emplace_back(key, samples);
    }
  }

  // `indices`: of each stratum, from its first sample on.
  std::vector<double> Of(const std::vector<std::vector<int>>& indices) const {
    std::vector<double> values;
    for (size_t s = 0; s < metrics_.size(); ++s) {
      for (const SampledMetric& metric : metrics_[s]) values.push_back(metric.Of(indices[s]));
    }
    if (average_) {
      const double weights = std::accumulate(weights_.begin(), weights_.end(), 0.0);
      values.push_back(std::inner_product(values.begin(), values.end(), weights_.begin(), 0.0) / weights);
    }
    return values;
  }

  // Values of the samples of metric number `at`; nullptr unless they are all 0 or 1 and the metric is their mean.
  const std::vector<double>* Binary(size_t at) const {
    for (const auto& stratum : metrics_) {
      if (at < stratum.size()) return AllZeroOrOne(stratum[at].values()) ? &stratum[at].values() : nullptr;
      at -= stratum.size();
    }
    return nullptr;
  }

 private:
  const bool average_;
  std::vector<double> weights_;                      // of an average's values
  std::vector<std::vector<SampledMetric>> metrics_;  // [stratum][metric]
};

absl::Status CheckComparable(const std::string& name, absl::Span<const BenchmarkResult* const> results) {
  if (results.size() < 2) return absl::InvalidArgumentError("a comparison needs two models");
  const auto& samples = results[0]->samples;
  for (const BenchmarkResult* other : results) {
    bool same = !samples.empty() && other->samples.size() == samples.size();
    for (size_t i = 0; same && i < samples.size(); ++i) same = other->samples[i].question == samples[i].question;
    if (!same)
      return absl::InvalidArgumentError(absl::StrCat("benchmark '", name, "': models did not answer the same samples"));
  }
  return absl::OkStatus();
}

double PairedMcNemar(const std::vector<double>& a, const std::vector<double>& b) {
  int64_t only_a = 0, only_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    only_a += a[i] > b[i];
    only_b += b[i] > a[i];
  }
  return McNemarExact(only_a, only_b);
}

}  // namespace

absl::StatusOr<std::vector<PairedDifference>> Compare(const ResolvedBenchmark& benchmark,
                                                      absl::Span<const BenchmarkResult* const> results, uint64_t seed) {
  MG_RETURN_IF_ERROR(CheckComparable(benchmark.definition.name, results));
  const bool average = !benchmark.definition.average_of.empty();
  const std::vector<Stratum> strata = StrataOf(benchmark, results[0]->samples);
  std::vector<std::string> names;
  std::vector<std::vector<int>> indices;
  for (const Stratum& stratum : strata) {
    names.insert(names.end(), stratum.names.begin(), stratum.names.end());
    indices.emplace_back(stratum.count);
    std::iota(indices.back().begin(), indices.back().end(), 0);
  }
  if (average) names.emplace_back("average");
  // McNemar's test counts samples; several completions of one problem are not independent of each other.
  const bool single = std::all_of(strata.begin(), strata.end(), [](const auto& s) { return s.units.size() == s.count; });
  const bool by_size = average && AverageKeys(benchmark.definition, benchmark.parts).front().by_size;
  std::vector<ResampledModel> models;
  std::vector<std::vector<double>> values;  // [model][metric]
  for (const BenchmarkResult* result : results) {
    models.emplace_back(*result, strata, average, by_size);
    values.push_back(models.back().Of(indices));
  }
  // [model][metric][resampling]
  std::vector<std::vector<std::vector<double>>> resampled(models.size(), std::vector<std::vector<double>>(names.size()));
  for (int r = 0; r < kComparisonResamplings; ++r) {
    Rng rng(seed, static_cast<uint64_t>(r));
    for (size_t s = 0; s < strata.size(); ++s) {
      const auto& units = strata[s].units;
      indices[s].clear();
      for (size_t draw = 0; draw < units.size(); ++draw) {
        const auto& unit = units[static_cast<size_t>(rng.Uniform() * static_cast<double>(units.size()))];
        indices[s].insert(indices[s].end(), unit.begin(), unit.end());
      }
    }
    for (size_t m = 0; m < models.size(); ++m) {
      const std::vector<double> all = models[m].Of(indices);
      for (size_t k = 0; k < names.size(); ++k) resampled[m][k].push_back(all[k]);
    }
  }
  std::vector<PairedDifference> pairs;
  for (size_t k = 0; k < names.size(); ++k) {
    const size_t begin = pairs.size();
    std::vector<double> p;
    for (size_t a = 0; a < models.size(); ++a) {
      for (size_t b = a + 1; b < models.size(); ++b) {
        std::vector<double> differences(kComparisonResamplings);
        for (int r = 0; r < kComparisonResamplings; ++r) differences[r] = resampled[a][k][r] - resampled[b][k][r];
        const BootstrapEstimate bootstrap = BootstrapOf(std::move(differences));
        PairedDifference pair{static_cast<int>(a), static_cast<int>(b), names[k]};
        pair.difference = values[a][k] - values[b][k];
        pair.low = bootstrap.low;
        pair.high = bootstrap.high;
        const auto *binary_a = models[a].Binary(k), *binary_b = models[b].Binary(k);
        pair.mcnemar = single && binary_a != nullptr && binary_b != nullptr;
        pair.p = pair.mcnemar ? PairedMcNemar(*binary_a, *binary_b) : bootstrap.p;
        p.push_back(pair.p);
        pairs.push_back(std::move(pair));
      }
    }
    const std::vector<double> holm = HolmAdjusted(p);
    for (size_t i = 0; models.size() > 2 && i < holm.size(); ++i) pairs[begin + i].p_holm = holm[i];
  }
  return pairs;
}

}  // namespace merganser

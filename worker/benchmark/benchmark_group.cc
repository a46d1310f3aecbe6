#include "worker/benchmark/benchmark_group.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/metric_keys.h"
#include "worker/benchmark/wilson.h"

namespace merganser {

absl::StatusOr<std::unique_ptr<BenchmarkGroup>> BenchmarkGroup::Load(ResolvedBenchmark resolved,
                                                                     const ScorerOptions& options) {
  std::unique_ptr<BenchmarkGroup> group(new BenchmarkGroup);
  group->metric_names_ = MetricNames(resolved);
  group->definition_ = resolved.definition;
  for (BenchmarkDefinition& part : resolved.parts) {
    auto benchmark = Benchmark::Load(std::move(part), options);
    if (!benchmark.ok()) {
      return group->definition_.average_of.empty()
                 ? benchmark.status()
                 : Annotate(benchmark.status(), absl::StrCat("average '", group->definition_.name, "'"));
    }
    group->parts_.push_back(*std::move(benchmark));
  }
  return group;
}

BenchmarkResult BenchmarkGroup::Combine(std::vector<BenchmarkResult> results) const {
  if (definition_.average_of.empty()) return std::move(results.front());
  BenchmarkResult all;
  all.benchmark = definition_.name;
  double sum = 0, squares = 0, members = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    BenchmarkResult& part = results[i];
    if (part.samples.empty()) continue;  // none of its samples was drawn
    ++members;
    const std::string main = MainMetric(parts_[i]->definition());
    const std::string name = absl::StrCat(part.benchmark, ".", main);
    const MetricInterval interval = IntervalOf(part.metrics, main, static_cast<int64_t>(part.samples.size()));
    sum += part.metrics.at(main);
    squares += interval.standard_error * interval.standard_error;
    all.metrics[name] = part.metrics.at(main);
    // A member has fewer samples than the whole, so its error cannot be worked out from the value.
    all.metrics[absl::StrCat(name, kStandardErrorSuffix)] = interval.standard_error;
    for (SampleOutcome& sample : part.samples) {
      sample.values["member"] = static_cast<double>(i);
      all.samples.push_back(std::move(sample));
    }
  }
  all.metrics["average"] = sum / members;
  all.metrics[absl::StrCat("average", kStandardErrorSuffix)] = std::sqrt(squares) / members;
  return all;
}

}  // namespace merganser

// What a job calls one benchmark: a benchmark, or a macro average over several.
#ifndef MERGANSER_WORKER_BENCHMARK_BENCHMARK_GROUP_H_
#define MERGANSER_WORKER_BENCHMARK_BENCHMARK_GROUP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/average_metrics.h"
#include "worker/benchmark/benchmark.h"
#include "worker/benchmark/builtin_benchmarks.h"

namespace merganser {

// Immutable, thread-safe.
class BenchmarkGroup {
 public:
  // Errors of Benchmark::Load.
  static absl::StatusOr<std::unique_ptr<BenchmarkGroup>> Load(ResolvedBenchmark resolved, const ScorerOptions& options = {});

  const BenchmarkDefinition& definition() const { return definition_; }
  // One, or an average's members in their order.
  const std::vector<std::unique_ptr<Benchmark>>& parts() const { return parts_; }
  const std::vector<std::string>& metric_names() const { return metric_names_; }
  // metric_keys.h's; of an average's metric true if it is so of what any member counts with in it.
  bool SmallerIsBetter(const std::string& metric) const;

  // `results[i]` is of parts()[i]. The result of a plain benchmark is its part's. Of an average: each of AverageKeys with
  // its standard error "NAME_stderr" (AverageOf), and "MEMBER.METRIC" of each metric that counts in one. Of a single sample
  // there is no error, nor of an average with such a member (lm-evaluation-harness). The samples are all members', in order,
  // each with values["member"]; a member's first one also has its own value in each "MEMBER.METRIC" (0 where the metric is
  // no mean), so that what is known of the results' metrics alone can be told of each member. Members of which no sample was
  // drawn do not count. REQUIRES: one result
  // a part, at least one with samples.
  BenchmarkResult Combine(std::vector<BenchmarkResult> results) const;

 private:
  BenchmarkGroup() = default;

  // Constant after Load.
  BenchmarkDefinition definition_;
  std::vector<std::unique_ptr<Benchmark>> parts_;
  std::vector<std::string> metric_names_;
  std::vector<AverageKey> keys_;  // of an average
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BENCHMARK_GROUP_H_

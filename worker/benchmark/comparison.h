// Several models on the same samples of one benchmark, compared pair by pair.
#ifndef MERGANSER_WORKER_BENCHMARK_COMPARISON_H_
#define MERGANSER_WORKER_BENCHMARK_COMPARISON_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/paired_statistics.h"

namespace merganser {

// Every pair (i < j) in order, for every metric of the benchmark; of an average for "average" and each member's main metric
// as "MEMBER.METRIC". results[i] is model i's; each has all samples. One resampling draws as many samples as there are, with
// replacement, the same ones for every model and metric: draw d of resampling r is the d-th of Rng(seed, r). An average's
// members are drawn from one by one; of several completions of a problem all are drawn with it. InvalidArgument: fewer than
// two models, or they did not answer the same questions.
absl::StatusOr<std::vector<PairedDifference>> Compare(const ResolvedBenchmark& benchmark,
                                                      absl::Span<const BenchmarkResult* const> results, uint64_t seed);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_COMPARISON_H_

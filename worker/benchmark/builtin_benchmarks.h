// The benchmarks that Merganser knows by name, and what a job's own settings make of them.
#ifndef MERGANSER_WORKER_BENCHMARK_BUILTIN_BENCHMARKS_H_
#define MERGANSER_WORKER_BENCHMARK_BUILTIN_BENCHMARKS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/benchmark.h"
#include "worker/benchmark/definition.h"

namespace merganser {

// Names of the built-in benchmarks (docs/benchmarks.md lists them), in their order there.
const std::vector<std::string>& BuiltinBenchmarkNames();

// `settings` over what they use: a built-in, one of `siblings` (the job's other benchmarks, by
// name; they win over a built-in of the same name, and may themselves use something), or a file
// (see benchmark_file.h; its own paths are relative to it). Where `data` is a
// folder, the built-in's file in it is meant, and its few-shots are looked for there; where it is a
// file, beside it. Without `use`, they have to say how it is scored: `extract`, or `target` (with
// metrics, filters, choices). InvalidArgument names the benchmark and the field: unknown `use`,
// `extract`, `output` or metric (with the nearest name), a cycle of `use`, max_new_tokens, limit, a
// few-shot count or a sampling setting out of bounds, more than 64 or an empty stop string,
// settings that the output has no use for.
absl::StatusOr<BenchmarkDefinition> ResolveBenchmark(const BenchmarkSettings& settings,
                                                     absl::Span<const BenchmarkSettings> siblings = {});
absl::StatusOr<BenchmarkDefinition> ResolveBenchmark(const BenchmarkSpec& spec,
                                                     const std::vector<BenchmarkSpec>& siblings = {});

// What is run for `settings`: itself, or for an average its members, each named as in `average_of`.
// Members are siblings or built-ins; the average's folder of data and its limit are theirs, unless
// they have their own. InvalidArgument also for a member that is an average itself.
struct ResolvedBenchmark {
  BenchmarkDefinition definition;
  std::vector<BenchmarkDefinition> parts;  // one, or the members
};
absl::StatusOr<ResolvedBenchmark> ResolveWithParts(const BenchmarkSettings& settings,
                                                   absl::Span<const BenchmarkSettings> siblings = {});

// The metrics that scoring yields, see MetricKeys; of an average "average" and each member's main
// metric as "MEMBER.METRIC".
std::vector<std::string> MetricNames(const BenchmarkDefinition& definition);
std::vector<std::string> MetricNames(const ResolvedBenchmark& resolved);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BUILTIN_BENCHMARKS_H_

// The results file of `evaluate` and `score`, which other programs read.
#ifndef MERGANSER_WORKER_BENCHMARK_RESULTS_JSON_H_
#define MERGANSER_WORKER_BENCHMARK_RESULTS_JSON_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/domain/evaluation.h"

namespace merganser {

// A result with the fields that its completions file carried besides the ones that scoring reads.
struct ScoredCompletions {
  BenchmarkResult result;
  std::vector<std::string> extra_fields;  // a JSON object a sample, in order; empty: none
};

// {benchmark: {"metrics": {name: value}, "intervals": {name: {"stderr", "low", "high", "n"}} (95 %, see IntervalOf; n:
// samples, or the problems that have several completions; of an average's member its own. None of what has no standard error
// and is no share of samples), "results":
// [{"question", "prediction", "answer", "correct", "completion", "values": {"acc": 1, ...}, ...extra fields}]}}, UTF-8 as it
// is, indented by 2, with a newline at the end. `prediction` is a number, null where the rule found none
// ("Infinity" if the number exceeds a double); `answer` is a number; `correct` follows the
// strictest metric. An extra field never replaces one of these.
std::string ResultsJson(absl::Span<const ScoredCompletions> results);
std::string ResultsJson(absl::Span<const BenchmarkResult> results);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_RESULTS_JSON_H_

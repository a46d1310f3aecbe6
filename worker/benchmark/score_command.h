// `merganser score`: scores stored completions, without a model.
#ifndef MERGANSER_WORKER_BENCHMARK_SCORE_COMMAND_H_
#define MERGANSER_WORKER_BENCHMARK_SCORE_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/results_json.h"
#include "worker/benchmark/scorer.h"

namespace merganser {

// Scores the file at `completions_path` (see ReadCompletions) by `definition`, of which only the name, the number rule or
// filters and metrics, the language and the limit matter; with `code` also its data, programs and metrics (see
// ReadCodeCompletions), whatever number of completions each problem has. The language model is also looked for beside the
// benchmark's data, one folder up, and beside the completions. Errors of these and of Scorer::Create; InvalidArgument: fewer
// completions of a problem than the k of pass@k; several completions of a prompt without `code`, since the file does not say
// which belong together.
absl::StatusOr<ScoredCompletions> ScoreCompletions(const BenchmarkDefinition& definition,
                                                   const std::string& completions_path, const ScorerOptions& options = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SCORE_COMMAND_H_

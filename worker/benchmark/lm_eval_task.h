// Tasks of EleutherAI's lm-evaluation-harness (0.4) that need no Python.
#ifndef MERGANSER_WORKER_BENCHMARK_LM_EVAL_TASK_H_
#define MERGANSER_WORKER_BENCHMARK_LM_EVAL_TASK_H_

#include "absl/status/statusor.h"
#include "worker/benchmark/settings.h"
#include "worker/benchmark/yaml_map.h"

namespace merganser {

// True for a file with doc_to_text, doc_to_target, doc_to_choice or dataset_path, its own or included.
bool IsLmEvalTask(const YamlMap& map);

// The task of `map` as settings: the same prompts, few-shots (the harness's default sampler draws with Python's generator,
// seed 1234; so do we), choices, filters and metrics. Metrics of a named filter are called METRIC@FILTER instead of
// "METRIC,FILTER". Data: dataset_path json or csv with dataset_kwargs.data_files, relative to the file; any other dataset
// has to be given as `data` (and `few_shot.data`) by whoever uses the file, and errors name it. Every key that would change
// a score and is not supported is refused by its name, as is `!function`. docs/benchmarks.md lists them all.
absl::StatusOr<BenchmarkSettings> ReadLmEvalTask(YamlMap& map);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_LM_EVAL_TASK_H_

// Groups of tasks of EleutherAI's lm-evaluation-harness (0.4.13).
#ifndef MERGANSER_WORKER_BENCHMARK_LM_EVAL_GROUP_H_
#define MERGANSER_WORKER_BENCHMARK_LM_EVAL_GROUP_H_

#include "absl/status/statusor.h"
#include "worker/benchmark/settings.h"
#include "worker/benchmark/yaml_map.h"

namespace merganser {

// True for a file with `group` and a list `task`.
bool IsLmEvalGroup(const YamlMap& map);

// The average over the group's tasks, those of its groups and tags among them, as settings: `average_of` and `members`, each
// member by its task's name, and `average_metrics`. Names are looked for below LmEvalIndex::RootOf(the file's folder). A
// member's own keys (`{task: a, num_fewshot: 5}`), a nested group's and the group's own that are none of a group
// (`metric_list`) stand over the task's file, in the harness's order. InvalidArgument: a name that is none, a name twice, a
// group in itself, a member that ReadLmEvalTask refuses, a task that is written in the group instead of a file.
absl::StatusOr<BenchmarkSettings> ReadLmEvalGroup(YamlMap& map);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_LM_EVAL_GROUP_H_

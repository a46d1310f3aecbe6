// A benchmark in a file of its own: ours, or a task of EleutherAI's lm-evaluation-harness.
#ifndef MERGANSER_WORKER_BENCHMARK_BENCHMARK_FILE_H_
#define MERGANSER_WORKER_BENCHMARK_BENCHMARK_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/benchmark/settings.h"

namespace merganser {

// What the YAML file at `path` says (docs/benchmarks.md has every field). Paths in it are relative to it and become
// absolute; data and files that it uses are not read. A file with `doc_to_text`, `doc_to_target` or `dataset_path`, its own
// or of a file that it includes, is a task of the harness (see ReadLmEvalTask). InvalidArgument "FILE:LINE: field: what";
// NotFound, PermissionDenied.
absl::StatusOr<BenchmarkSettings> ReadBenchmarkFile(const std::string& path);

// The same of a text; `file` names it in errors and its folder is where paths start.
absl::StatusOr<BenchmarkSettings> ParseBenchmark(absl::string_view text, const std::string& file);

// `path` as written in `file`: absolute, without "." and "..".
std::string PathIn(const std::string& file, const std::string& path);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BENCHMARK_FILE_H_

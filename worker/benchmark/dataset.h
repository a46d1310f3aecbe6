// Reads a benchmark's data: JSON lines, or MGSM's tab-separated files.
#ifndef MERGANSER_WORKER_BENCHMARK_DATASET_H_
#define MERGANSER_WORKER_BENCHMARK_DATASET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/benchmark/sample.h"

namespace merganser {

struct DatasetOptions {
  std::string question_field = "question";
  std::string answer_field = "answer";
  std::optional<int64_t> limit;  // only the first `limit` samples are read and checked; at least 1
};

// The samples of `path`, in the file's order.
// - ".jsonl": an object a line with the two fields; the other fields are kept for the prompt
// template.
// - ".tsv": question, tab, answer; no header (MGSM).
// NotFound, PermissionDenied. InvalidArgument names file and line ("tasks/x.jsonl:17: field
// 'answer' is missing"): see ReadTextLines, ParseJsonObject and ParseAnswer; also another ending,
// or a limit below 1.
absl::StatusOr<std::vector<Sample>> LoadDataset(const std::string& path,
                                                const DatasetOptions& options = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_DATASET_H_

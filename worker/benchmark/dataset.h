// Reads a benchmark's data where a number rule scores: a question and a number in each row.
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
  std::vector<std::string> columns;  // see RowOptions
  std::optional<int64_t> limit;      // only the first `limit` samples are read and checked; at least 1
};

// The samples of `path`, in the file's order, from rows with the two fields (see LoadRows; a .tsv without `columns` is
// question, tab, answer, as MGSM's); the other fields are kept for the prompt template. Errors of LoadRows; InvalidArgument
// names file and line ("tasks/x.jsonl:17: field 'answer' is missing"), see ParseAnswer.
absl::StatusOr<std::vector<Sample>> LoadDataset(const std::string& path, const DatasetOptions& options = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_DATASET_H_

// Stored completions: what a model answered, to be scored without the model.
#ifndef MERGANSER_WORKER_BENCHMARK_COMPLETIONS_H_
#define MERGANSER_WORKER_BENCHMARK_COMPLETIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/benchmark/definition.h"
#include "worker/benchmark/sample.h"

namespace merganser {

// Three lists of one length, in the file's order.
struct Completions {
  std::vector<Sample> samples;
  std::vector<std::string> texts;
  std::vector<std::string> extra_fields;  // per line a JSON object of the fields not named below
};

// Reads COMPLETIONS.jsonl: an object a line with `completion` (a string) and `answer` (see
// ParseAnswer), and if there is one `question` (a string). `limit`: only the first so many lines.
// Without `numbers` an answer may be any text, or a list of texts of which any is right.
// NotFound, PermissionDenied; InvalidArgument names file, line and field ("out.jsonl:3: field
// 'completion' is missing").
absl::StatusOr<Completions> ReadCompletions(const std::string& path, std::optional<int64_t> limit = std::nullopt,
                                            bool numbers = true);

// The same for a benchmark with `code`: an object a line with `completion`, and what its program needs. Where `definition`
// has data, that is the row with the line's `task_id` (a text or a number, as the row has it), and the line's other fields
// are extra; else it is the line's own fields. Sample::line tells problems apart: the row's, or the first line with that
// `task_id`. Errors as above, and those of LoadRows; InvalidArgument names the line: a `task_id` that is missing or not in
// the data.
absl::StatusOr<Completions> ReadCodeCompletions(const std::string& path, const BenchmarkDefinition& definition);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_COMPLETIONS_H_

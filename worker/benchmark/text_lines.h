// Text files by line, and lines that are JSON objects: the common part of data sets and
// completions.
#ifndef MERGANSER_WORKER_BENCHMARK_TEXT_LINES_H_
#define MERGANSER_WORKER_BENCHMARK_TEXT_LINES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct TextLine {
  int64_t number = 0;  // from 1, blank lines counted
  std::string text;    // without its line end
};

struct TextLineLimits {
  // A benchmark of more samples than this cannot be evaluated in a search; a longer line is not a
  // sample.
  int64_t lines_max = 1'000'000;
  int64_t line_bytes_max = int64_t{64} << 20;
  int64_t file_bytes_max = int64_t{1} << 30;
};

// The lines of `path` that are not blank, in order; at most `first` of them if `first` >= 0 (the
// rest of the file is not checked). A byte-order mark is dropped, "\r\n" ends a line as "\n" does.
// NotFound, PermissionDenied as ReadFile. InvalidArgument, naming file, line and bound: no line
// that is not blank, invalid UTF-8, a line or a file over the limits.
absl::StatusOr<std::vector<TextLine>> ReadTextLines(const std::string& path, int64_t first = -1,
                                                    const TextLineLimits& limits = {});

// `line` of the file `path` as a JSON object, fields in their written order. InvalidArgument with
// "path:line:column: ..." for broken JSON, nesting over 100 levels, or anything but an object.
absl::StatusOr<nlohmann::ordered_json> ParseJsonObject(absl::string_view path, const TextLine& line);

// "path:line".
std::string LineName(absl::string_view path, int64_t line);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_TEXT_LINES_H_

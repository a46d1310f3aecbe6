// The rows of a data file, whatever kind of file it is.
#ifndef MERGANSER_WORKER_BENCHMARK_ROWS_H_
#define MERGANSER_WORKER_BENCHMARK_ROWS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace merganser {

struct Row {
  int64_t line = 0;               // where it begins in its file, from 1; in a .json array its place
  nlohmann::ordered_json fields;  // an object
};

struct RowOptions {
  // Names of the columns of a .csv or .tsv file; "A|choice0" may be called either, and the row's field is A. Where the first
  // line names each of them, in any order and case, it is a header line, whose other columns keep their own names; otherwise
  // the file has no header line and just these columns. Empty: a .csv begins with a header line, and a .tsv has the columns
  // of `tsv_columns`.
  std::vector<std::string> columns;
  std::vector<std::string> tsv_columns = {"question", "answer"};  // MGSM's
  std::optional<int64_t> limit;                                   // only the first `limit` rows are read; at least 1
  int64_t skip = 0;                                               // rows at the beginning that are left out before
};

// The rows of `path`, in the file's order.
// - ".jsonl": an object a line.
// - ".json": JSON lines all the same (JGLUE), an array of objects, or SQuAD's nesting, whose questions become rows
//   {id, title, context, question, answers: {text: [...]}}.
// - ".csv": RFC 4180, fields may be quoted and hold line ends. Values are strings.
// - ".tsv": columns between tabs; quotes mean nothing. Values are strings.
// NotFound, PermissionDenied. InvalidArgument names file and line: broken JSON, another number of columns, a quote that is
// not closed, invalid UTF-8, no rows, another ending (with the command that converts a .parquet or .gz), a limit below 1.
absl::StatusOr<std::vector<Row>> LoadRows(const std::string& path, const RowOptions& options = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_ROWS_H_

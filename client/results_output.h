// The results file of `evaluate` and `score`, and its metrics as a table.
#ifndef MERGANSER_CLIENT_RESULTS_OUTPUT_H_
#define MERGANSER_CLIENT_RESULTS_OUTPUT_H_

#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// --output and -o.
void AddResultsOptions(CLI::App* verb, std::string* output, std::string* format);

// `results`: (model, results JSON of LocalLibrary), in order. Prints each model's metrics, with 95
// % Wilson intervals, or with `format` "json" the whole file; `output` (unless empty) gets the
// file. One model: {benchmark: ...}; several: {model: {benchmark: ...}}. Exit code; errors of
// WriteFileAtomically.
absl::StatusOr<int> WriteResults(const std::vector<std::pair<std::string, std::string>>& results, const std::string& output,
                                 const std::string& format, LocalLibrary& library);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_RESULTS_OUTPUT_H_

// The results file of `evaluate` and `score`, and its metrics as a table.
#ifndef MERGANSER_CLIENT_RESULTS_OUTPUT_H_
#define MERGANSER_CLIENT_RESULTS_OUTPUT_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// --output and -o.
void AddResultsOptions(CLI::App* verb, std::string* output, std::string* format);

// Whether `output` (unless empty) can be written, asked before hours of work: it is no folder, and its folder is there and
// may be written in. InvalidArgument, NotFound, PermissionDenied "--output: ...".
absl::Status CheckOutput(const std::string& output);

// Of several models, by benchmark: how they differ (LocalLibrary::Compare).
struct ResultsComparison {
  uint64_t seed = 0;
  std::map<std::string, std::vector<PairedDifference>> benchmarks;
};

// `results`: (model, results JSON of LocalLibrary), in order; the comparison's models are in the same order. Prints each
// model's metrics with 95 % intervals, and a second table of the differences (of an average only "average"), or with
// `format` "json" or "yaml" the whole file; `output` (unless empty) gets the file. One model: {benchmark: ...}; several:
// {model: {benchmark: ...}}, where each benchmark that was compared also has "comparison": {"seed", "resamplings", "models":
// {other model: {metric: {"difference", "low", "high", "p", "p_holm", "test": "mcnemar" or "bootstrap"}}}}, each difference
// that model's value minus the other's. Exit code; errors of WriteFileAtomically.
absl::StatusOr<int> WriteResults(const std::vector<std::pair<std::string, std::string>>& results, const std::string& output,
                                 const std::string& format, const ResultsComparison& comparison = {});

}  // namespace merganser

#endif  // MERGANSER_CLIENT_RESULTS_OUTPUT_H_

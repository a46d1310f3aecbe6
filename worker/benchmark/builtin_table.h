// The built-in benchmarks as they are written down; builtin_benchmarks.h resolves them.
#ifndef MERGANSER_WORKER_BENCHMARK_BUILTIN_TABLE_H_
#define MERGANSER_WORKER_BENCHMARK_BUILTIN_TABLE_H_

#include <string>
#include <utility>
#include <vector>

#include "worker/benchmark/settings.h"

namespace merganser {

struct BuiltinBenchmark {
  BenchmarkSettings spec;     // its name; `use` may name another built-in, listed before it
  std::string file;           // the data's name where the user gives a folder
  std::string few_shot_file;  // the examples' name there; "" if `spec` has them, or there are none
  std::string source;         // where the data is to be had, for errors
  std::vector<std::pair<std::string, std::string>> other_releases = {};  // `file` and `few_shot_file`, in the same form
};

// In the order of the documentation. Constant.
const std::vector<BuiltinBenchmark>& BuiltinTable();

// nullptr if there is none of that name.
const BuiltinBenchmark* FindBuiltin(const std::string& name);

// The six columns of MMLU's files, which have no header line as published; mirrors that have one call them as these say.
std::vector<std::string> MmluColumns();

// MMLU's prompt, which ends in `cue`, for rows of these columns, or with a list `choices` (the Hub's form).
std::string MmluPrompt(const std::string& cue);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BUILTIN_TABLE_H_

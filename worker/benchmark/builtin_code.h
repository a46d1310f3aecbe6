// Benchmarks whose completions are Python that is run: HumanEval and MBPP.
#ifndef MERGANSER_WORKER_BENCHMARK_BUILTIN_CODE_H_
#define MERGANSER_WORKER_BENCHMARK_BUILTIN_CODE_H_

#include <vector>

#include "worker/benchmark/builtin_table.h"

namespace merganser {

void AddCodeBenchmarks(std::vector<BuiltinBenchmark>* table);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BUILTIN_CODE_H_

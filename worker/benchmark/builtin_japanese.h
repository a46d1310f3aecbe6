// The Japanese part of the table of built-in benchmarks: the tasks of Stability AI's Japanese harness (JP-LMEH) and others.
#ifndef MERGANSER_WORKER_BENCHMARK_BUILTIN_JAPANESE_H_
#define MERGANSER_WORKER_BENCHMARK_BUILTIN_JAPANESE_H_

#include <vector>

#include "worker/benchmark/builtin_table.h"

namespace merganser {

// Appends them; "mgsm_ja" must be there already.
void AddJapaneseBenchmarks(std::vector<BuiltinBenchmark>* table);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BUILTIN_JAPANESE_H_

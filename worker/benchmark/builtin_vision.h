// The part of the table of built-in benchmarks that is about pictures: those that EvoVLM-JP was published with.
#ifndef MERGANSER_WORKER_BENCHMARK_BUILTIN_VISION_H_
#define MERGANSER_WORKER_BENCHMARK_BUILTIN_VISION_H_

#include <vector>

#include "worker/benchmark/builtin_table.h"

namespace merganser {

// Appends them.
void AddVisionBenchmarks(std::vector<BuiltinBenchmark>* table);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BUILTIN_VISION_H_

// Where in a benchmark's own file the value is that an error is about.
#ifndef MERGANSER_WORKER_BENCHMARK_SETTING_PLACE_H_
#define MERGANSER_WORKER_BENCHMARK_SETTING_PLACE_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/benchmark/settings.h"

namespace merganser {

// `status`, an error of ResolveBenchmark or Benchmark::Load for `settings`, as "FILE:LINE: field: what" where the field was
// said in a file that `settings` use (through `siblings` and further files); unchanged where it was not, or the error names
// no field.
absl::Status AtBenchmarkFile(const absl::Status& status, const BenchmarkSettings& settings,
                             absl::Span<const BenchmarkSettings> siblings = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SETTING_PLACE_H_

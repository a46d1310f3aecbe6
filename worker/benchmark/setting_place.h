// The line of a benchmark's own file in which the value stands that an error is about.
#ifndef MERGANSER_WORKER_BENCHMARK_SETTING_PLACE_H_
#define MERGANSER_WORKER_BENCHMARK_SETTING_PLACE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/benchmark/settings.h"

namespace merganser {

// Whether `message`, an error of the benchmark `name`, says that it is about `field`: it begins with it ("benchmark 'b':
// stop[0] is empty"), or has "FIELD of benchmark 'b'".
bool IsAbout(absl::string_view message, const std::string& name, absl::string_view field);

// `status`, an error of ResolveBenchmark or Benchmark::Load for `settings`, as "FILE:LINE: field: what" where the field was
// said in a file that `settings` use (through `siblings` and further files); unchanged where it was not, or the error names
// no field.
absl::Status AtBenchmarkFile(const absl::Status& status, const BenchmarkSettings& settings,
                             absl::Span<const BenchmarkSettings> siblings = {});

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SETTING_PLACE_H_

// Entry for libFuzzer and for the mutation driver: whatever the text, a benchmark file (ours or lm-evaluation-harness's)
// ends in a definition that holds what its header says, or in a message that names the file or the benchmark.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/match.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/metric_keys.h"

using namespace merganser;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  auto settings = ParseBenchmark(text, "/fuzz/b.yaml");
  if (!settings.ok()) {
    if (!absl::StartsWith(settings.status().message(), "/fuzz/b.yaml")) std::abort();
    return 0;
  }
  settings->name = "b";
  if (IsBenchmarkFile(settings->use)) settings->use.clear();  // no other files
  const auto resolved = ResolveWithParts(*settings);
  if (!resolved.ok()) {
    if (!absl::StrContains(resolved.status().message(), "benchmark '")) std::abort();
    return 0;
  }
  if (resolved->parts.empty() || MetricNames(*resolved).empty()) std::abort();
  for (const BenchmarkDefinition& d : resolved->parts) {
    if (d.max_new_tokens < 0 || d.few_shot.count < 0 || d.completions < 1 || d.skip < 0 || (d.limit && *d.limit < 1))
      std::abort();
    if (d.extract.empty() && (d.filters.empty() || d.metrics.empty())) std::abort();
    bool main = false;
    for (const MetricKey& key : MetricKeys(d)) main = main || key.name == MainMetric(d);
    if (!main) std::abort();
  }
  return 0;
}

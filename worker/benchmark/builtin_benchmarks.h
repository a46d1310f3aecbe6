// The benchmarks that Merganser knows by name, and what a job's own settings make of them.
#ifndef MERGANSER_WORKER_BENCHMARK_BUILTIN_BENCHMARKS_H_
#define MERGANSER_WORKER_BENCHMARK_BUILTIN_BENCHMARKS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/benchmark.h"

namespace merganser {

// A benchmark with nothing left open.
struct BenchmarkDefinition {
  std::string name;        // names the result
  std::string data;        // .jsonl or .tsv; "" is enough for scoring stored completions
  std::string prompt;      // Jinja over the sample's fields; "" likewise
  int max_new_tokens = 0;  // tokens, 1 to 1048576; 0 likewise
  std::vector<std::string>
      stop;              // generation ends at the first of these; not part of the completion
  std::string extract;   // number rule, see number_rule.h
  std::string language;  // "" for no language check
  std::optional<int64_t> limit;  // only the first `limit` samples
  std::string question_field = "question";
  std::string answer_field = "answer";

  bool operator==(const BenchmarkDefinition&) const = default;
};

// Names of the built-in benchmarks:
// - "mgsm_ja": MGSM-JA as published with EvoLLM-JP: zero-shot, Sakana's `ja-alpaca-cot` prompt, at
// most 1024 new tokens,
//   its four stop strings, number rule "sakana", completions must be Japanese to count in acc_ja.
// - "mgsm_ja_lmeh": MGSM-JA as in Stability AI's harness (JP-LMEH), prompt version 0.0 without
// few-shots (those go into
//   `prompt`): at most 256 new tokens, one line, number rule "jp_lmeh", no language check.
const std::vector<std::string>& BuiltinBenchmarkNames();

// `spec` over what it uses: a built-in, or one of `siblings` (the job's other benchmarks, by name;
// they win over a built-in of the same name, and may themselves use something). Without `use`,
// `spec` has to set `extract`, and to be run also `prompt` and `max_new_tokens` (Benchmark::Load
// checks that). InvalidArgument names the benchmark and the field: unknown `use` or `extract` (with
// the nearest name), a cycle of `use`, max_new_tokens or limit out of bounds, more than 64 or an
// empty stop string.
absl::StatusOr<BenchmarkDefinition> ResolveBenchmark(const BenchmarkSpec& spec,
                                                     absl::Span<const BenchmarkSpec> siblings = {});

// The metrics that scoring yields: "acc", and with a language L also "acc_L". The last is the
// strictest.
std::vector<std::string> MetricNames(const BenchmarkDefinition& definition);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BUILTIN_BENCHMARKS_H_

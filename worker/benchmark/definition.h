// A benchmark with nothing left open: what a job's settings come to once everything that it uses is put under them.
#ifndef MERGANSER_WORKER_BENCHMARK_DEFINITION_H_
#define MERGANSER_WORKER_BENCHMARK_DEFINITION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/benchmark/settings.h"

namespace merganser {

// How a sample is answered.
enum class BenchmarkOutput {
  kGenerateUntil,         // a completion of the prompt
  kMultipleChoice,        // the likeliest of the choices
  kLogLikelihood,         // how likely the target is after the prompt
  kRollingLogLikelihood,  // how likely the target is by itself, however long
};

// Examples before each sample's prompt.
struct FewShots {
  int count = 0;
  std::string data;              // a file of examples; "" if `samples` has them
  std::optional<uint64_t> seed;  // unset: the first `count`; set: drawn anew for each sample
  bool python = false;           // see FewShotSettings
  std::string delimiter = "\n\n";
  std::vector<std::string> samples;  // JSON objects
  bool excludes_sample = false;      // no sample is its own example

  bool operator==(const FewShots&) const = default;
};

struct BenchmarkDefinition {
  std::string name;               // names the result
  std::string data;               // a file, see dataset.h; "" is enough for scoring stored completions
  std::string prompt;             // Jinja over the sample's fields; "" likewise
  int max_new_tokens = 0;         // tokens, 1 to 1048576; 0 likewise
  std::vector<std::string> stop;  // generation ends at the first of these; not part of the completion
  std::string extract;            // number rule, see number_rule.h; "": filters and metrics
  std::string language;           // "" for no language check
  std::optional<int64_t> limit;   // only the first `limit` samples
  std::string question_field = "question";
  std::string answer_field = "answer";
  BenchmarkOutput output = BenchmarkOutput::kGenerateUntil;
  std::string description;
  std::string target;                // Jinja; "": the answer field
  std::vector<std::string> choices;  // Jinja, one a choice; a single one may give a list
  std::optional<std::string> continuation;
  std::string target_delimiter = " ";
  std::string gen_prefix;  // Jinja; see settings.h, as the next
  bool bare_target = false;
  FewShots few_shot;
  std::vector<FilterSpec> filters;  // at least one, but for number rules
  std::vector<MetricSpec> metrics;  // likewise
  std::vector<std::string> columns;
  // Names; not empty: everything else but name, data, limit and the next two is unused.
  std::vector<std::string> average_of;
  std::vector<BenchmarkSettings> members;  // see settings.h, as the next
  std::vector<AverageMetric> average_metrics;
  BenchmarkSampling sampling;
  std::optional<CodeSettings> code;    // completions are programs
  int completions = 1;                 // of each prompt
  int64_t skip = 0;                    // rows at the data's beginning that are no samples
  std::optional<int> answer_tokens;    // completions: at most the longest reference's tokens and so many more
  bool language_of_reference = false;  // see settings.h, as below
  bool bootstrap_median = false;
  std::optional<JpLmehSettings> jp_lmeh;
  std::string data_source;  // for errors: where the data is to be had; "" if unknown

  bool operator==(const BenchmarkDefinition&) const = default;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_DEFINITION_H_

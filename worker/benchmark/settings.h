// What is said of a benchmark, in a file of its own, in a job, or in the table of built-ins: everything may be left out.
#ifndef MERGANSER_WORKER_BENCHMARK_SETTINGS_H_
#define MERGANSER_WORKER_BENCHMARK_SETTINGS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/domain/benchmark.h"

namespace merganser {

// Examples before each sample's prompt.
struct FewShotSettings {
  std::optional<int> count;
  std::optional<std::string> data;       // a file of examples
  std::optional<uint64_t> seed;          // unset: the first `count`, in order; set: drawn anew for each sample
  std::optional<bool> python;            // drawn as lm-evaluation-harness draws them, sample by sample from one generator
  std::optional<std::string> delimiter;  // between examples
  std::vector<std::string> samples;      // JSON objects of a sample's fields; instead of `data`
  std::optional<bool> from_data;         // without `data`: the samples' own file
  std::optional<bool> excludes_sample;   // no sample is its own example; unset: so where the examples are the samples' file

  bool operator==(const FewShotSettings&) const = default;
};

// One step of a filter.
struct FilterStep {
  // The last three choose among a prompt's completions, see answer_filter.h.
  enum class Kind {
    kRegex,
    kNumber,
    kStrip,
    kLowercase,
    kUppercase,
    kMap,
    kChoiceRegex,
    kTakeFirst,
    kTakeFirstK,
    kMajorityVote
  };
  Kind kind = Kind::kStrip;
  std::string pattern = {};            // kRegex, kChoiceRegex: PCRE; kNumber: the number rule
  int match = 0;                       // kRegex, kChoiceRegex: which match; -1 the last
  std::string fallback = "[invalid]";  // kRegex, kChoiceRegex: if there is none; kMap: see others_stay
  // kChoiceRegex: what does not count where a choice's text is looked for, see answer_filter.h.
  bool ignore_case = false;
  bool ignore_punctuation = false;
  std::vector<std::string> regexes_to_ignore = {};
  std::map<std::string, std::string> map = {};  // kMap: a text that is a key becomes its value
  bool others_stay = true;                      // kMap: a text that is no key stays, else it becomes `fallback`
  int count = 0;                                // kTakeFirstK

  bool operator==(const FilterStep&) const = default;
};

// What is read off a completion before it is compared.
struct FilterSpec {
  std::string name = {};  // metrics are called METRIC@NAME; "": METRIC
  std::vector<FilterStep> steps = {};

  bool operator==(const FilterSpec&) const = default;
};

struct MetricSpec {
  std::string name = {};
  bool ignore_case = false;
  bool ignore_punctuation = false;
  bool ignore_numbers = false;
  std::vector<std::string> regexes_to_ignore = {};  // PCRE; matches are dropped from both sides
  std::string unit =
      {};  // of f1, rouge: "words" or "" (the same), "characters", "mecab", "tokens"; of exact_match: "neologdn"

  bool operator==(const MetricSpec&) const = default;
};

// Completions that are Python: each is run in a sandbox with a test (worker/command/sandbox.h).
struct CodeSettings {
  std::string program = {};  // Jinja over the sample's fields and `completion`, as the first filter gives it
  double timeout = 10;       // seconds
  int64_t memory_mib = 1024;

  bool operator==(const CodeSettings&) const = default;
};

// Everything around a task as the evaluator of JP-LMEH has it (jp_lmeh.h): the order of the samples, drawn examples, tokens,
// and what becomes of a prompt that is too long.
struct JpLmehSettings {
  // A prompt that is longer than the model's context leaves room for.
  enum class TooLong { kCut, kFewerExamples, kShorterArticles };
  bool stratified = false;  // examples of each target in its share of the examples' file
  TooLong too_long = TooLong::kCut;
  std::string article_begin = {}, article_end = {};  // kShorterArticles: what stands around the article in the prompt

  bool operator==(const JpLmehSettings&) const = default;
};

// How tokens are chosen; see worker/engine/generator.h.
struct BenchmarkSampling {
  double temperature = 0;  // 0: greedy
  double top_p = 1;
  int top_k = 0;  // 0: all
  uint64_t seed = 0;
  double repetition_penalty = 1;
  int beams = 1;

  bool operator==(const BenchmarkSampling&) const = default;
};

// A metric of an average: the mean over the members that have it.
struct AverageMetric {
  std::string metric = {};                               // "acc"
  std::optional<std::vector<std::string>> filters = {};  // "none": without a filter; unset: each that a member has
  bool by_size = true;                                   // weighted by the members' numbers of samples

  bool operator==(const AverageMetric&) const = default;
};

// Unset fields keep the value of what is used. docs/benchmarks.md says what each means.
struct BenchmarkSettings {
  std::string name = {};  // names results, metrics and objectives
  std::string use = {};   // what it extends: a built-in ("mgsm_ja"), another benchmark of the job, a file
  std::string data = {};  // .jsonl, .json, .csv, .tsv, or the folder of a built-in's files
  std::optional<std::string> prompt = {};
  std::optional<int> max_new_tokens = {};
  std::optional<std::vector<std::string>> stop = {};
  std::optional<std::string> extract = {};  // number rule; "": filters and metrics
  std::optional<std::string> language = {};
  std::optional<int64_t> limit = {};
  std::optional<std::string> question_field = {};
  std::optional<std::string> answer_field = {};
  std::optional<std::string> output = {};  // "generate_until", "multiple_choice", "loglikelihood", "loglikelihood_rolling"
  std::optional<std::string> description = {};
  std::optional<std::string> target = {};
  std::optional<std::vector<std::string>> choices = {};
  std::optional<std::string> continuation = {};
  std::optional<std::string> target_delimiter = {};
  // Ends every prompt, as the beginning of the answer; behind target_delimiter where no white space is at the joint. An
  // example's answer follows it, after a space by the same rule (lm-evaluation-harness).
  std::optional<std::string> gen_prefix = {};
  std::optional<bool> bare_target = {};  // loglikelihood: the target is scored without target_delimiter, as there
  FewShotSettings few_shot = {};
  std::optional<std::vector<FilterSpec>> filters = {};
  std::optional<std::vector<MetricSpec>> metrics = {};
  std::optional<std::vector<std::string>> columns = {};
  std::optional<std::vector<std::string>> average_of = {};
  std::vector<BenchmarkSettings> members = {};                     // what names in average_of stand for, before all else
  std::optional<std::vector<AverageMetric>> average_metrics = {};  // unset: the members' main metrics, each member alike
  std::optional<BenchmarkSampling> sampling = {};
  std::optional<CodeSettings> code = {};
  std::optional<int> completions = {};    // of each prompt; more than one for pass@k, votes and means over them
  std::optional<int64_t> skip = {};       // rows at the data's beginning that are no samples
  std::optional<int> answer_tokens = {};  // completions: at most the longest reference's tokens and so many more
  // The language check spares completions whose reference is not in the language, and takes the others' completions as "".
  std::optional<bool> language_of_reference = {};
  // Beside each mean, as METRIC_median, the median of 1000 means of resampled samples.
  std::optional<bool> bootstrap_median = {};
  std::optional<JpLmehSettings> jp_lmeh = {};
  std::optional<std::string> data_source = {};  // for errors: where the data is to be had

  bool operator==(const BenchmarkSettings&) const = default;
};

// What a job says, as settings.
BenchmarkSettings SettingsOf(const BenchmarkSpec& spec);
std::vector<BenchmarkSettings> SettingsOf(const std::vector<BenchmarkSpec>& specs);

// `base` with everything that `over` sets; name and use are `over`'s.
BenchmarkSettings Overlaid(BenchmarkSettings base, const BenchmarkSettings& over);

// True if `use` names a file rather than a benchmark: it has a '/' or ends in .yaml or .yml.
bool IsBenchmarkFile(const std::string& use);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SETTINGS_H_

// The metrics that a benchmark yields, by the names that results, tables and objectives use.
#ifndef MERGANSER_WORKER_BENCHMARK_METRIC_KEYS_H_
#define MERGANSER_WORKER_BENCHMARK_METRIC_KEYS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/benchmark/answer_filter.h"
#include "worker/benchmark/definition.h"

namespace merganser {

// How a metric of all samples comes from what each sample has in SampleOutcome::values.
enum class Aggregation {
  kMean,             // of values[key]
  kMcc,              // Matthews correlation of values["gold"] and values["pred"], any number of classes
  kMacroF1,          // mean over the classes of each one's F1
  kBalancedAcc,      // mean over the classes that are there of each one's share found (JP-LMEH)
  kPerplexity,       // exp(-mean of values["log_likelihood"])
  kBytePerplexity,   // exp(-sum of values["log_likelihood"] / sum of values["bytes"])
  kBitsPerByte,      // the same, as -log2
  kBootstrapMedian,  // median of 1000 means of as many values[key without "_median"], drawn as numpy with seed 1234 does
  kPassAtK,          // mean over values["problem"] of the chance that one of k of its completions has values["passed"]
  kWordPerplexity,   // exp(-sum of values["log_likelihood"] / sum of values["words"])
  kBinaryF1,         // F1 of class 1 of values["gold"] and values["pred"] (scikit-learn's f1_score of two classes)
  kTranslation,      // TranslationMetric::Score of the sums of values[TranslationCountKey(key, i)]
  // Mean over values["problem"] of values[value] of those of its completions that `choice` takes; ballots are
  // values[ballot].
  kAnswers,
};

struct MetricKey {
  std::string name;  // "acc", "acc_ja", "exact_match@strict", "exact_match_ja@strict"
  Aggregation aggregation = Aggregation::kMean;
  int k = 0;                 // kPassAtK
  std::string metric = {};   // kTranslation: "bleu" of "bleu@strict"
  AnswerChoice choice = {};  // kAnswers, as the next
  std::string value = {};    // not the key where completions are chosen: then the metric is no mean of them
  std::string ballot = {};   // "" without a vote
};

inline constexpr char kMedianSuffix[] = "_median";

// METRIC, METRIC_LANGUAGE, METRIC@FILTER, METRIC_LANGUAGE@FILTER.
std::string KeyName(absl::string_view metric, absl::string_view language, absl::string_view filter);

// What sample outcomes call the `index`-th of a translation's counts: "bleu@strict#3".
std::string TranslationCountKey(absl::string_view key, size_t index);

// What sample outcomes call a completion's ballot in the majority vote of a filter: a number that stands for its text, the
// same for the same text.
std::string BallotKey(absl::string_view filter);

// What sample outcomes call the value that a completion has in the metric `key`, where only some of a prompt's count.
std::string AnswerKey(absl::string_view key);

// k of a metric "pass@k"; 0 if it is another.
int PassK(absl::string_view metric);

// In their order; those that ask for a language come behind those that do not, and bootstrap medians behind all. Not for an
// average.
std::vector<MetricKey> MetricKeys(const BenchmarkDefinition& definition);

// The metric that stands for the benchmark: the first of the first filter, and where a language is asked for, with it; of
// jp_lmeh the bootstrap median where there is one, which is what that harness reports.
std::string MainMetric(const BenchmarkDefinition& definition);

// True for perplexities, bits per byte, "ter" and "brier_score", of whatever filter or member: no objective may be one of
// them, because fitness is maximised.
bool SmallerIsBetter(absl::string_view metric);

// OK if every metric of `definition` exists for its output. InvalidArgument names the metric and the nearest one.
absl::Status CheckMetrics(const BenchmarkDefinition& definition);

// What a benchmark without `metrics` has: exact_match; acc and acc_norm; acc and perplexity; bits_per_byte, byte_perplexity
// and word_perplexity.
std::vector<MetricSpec> DefaultMetrics(BenchmarkOutput output);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_METRIC_KEYS_H_

// From completions to metrics.
#ifndef MERGANSER_WORKER_BENCHMARK_SCORER_H_
#define MERGANSER_WORKER_BENCHMARK_SCORER_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/answer_filter.h"
#include "worker/benchmark/definition.h"
#include "worker/benchmark/language_id.h"
#include "worker/benchmark/metric_keys.h"
#include "worker/benchmark/model_text.h"
#include "worker/benchmark/number_rule.h"
#include "worker/benchmark/sample.h"
#include "worker/benchmark/text_metrics.h"
#include "worker/benchmark/translation_metrics.h"
#include "worker/command/sandbox.h"
#include "worker/text/template.h"

namespace merganser {

struct ScorerOptions {
  // lid.176.ftz; "": see FindLanguageModel. Read only if a benchmark checks the language.
  std::string language_model;
  // Benchmarks with `code` may run what a model wrote.
  bool allow_commands = false;
  // Of the model under test: prompts of jp_lmeh are fitted to it, and unit `tokens` counts its tokens. May be null.
  std::shared_ptr<const ModelText> model = nullptr;
};

// Scores samples by one benchmark's rules. Immutable, thread-safe.
class Scorer {
 public:
  // Where no path of the language model is given, it is also looked for in `folders`.
  // InvalidArgument: unknown number rule or language, broken filter, metric or model.
  // FailedPrecondition: the language model or MeCab's dictionary is missing, or for unit `tokens` the model. Of code:
  // PermissionDenied unless ScorerOptions::allow_commands; errors of Sandbox::Create.
  static absl::StatusOr<std::unique_ptr<Scorer>> Create(const BenchmarkDefinition& definition, const ScorerOptions& options,
                                                        const std::vector<std::string>& folders);

  // One completion of generate_until.
  // - With a number rule: `prediction` is the number found ("18.0"; "" if none), `values` has "acc" (1 if it equals the
  //   answer, else 0).
  // - With filters and metrics: `prediction` is what the first filter gives; `values` has each metric of each filter.
  //   Of a translation metric (bleu, chrf) `values` has its counts, see TranslationCountKey.
  //   With language_of_reference the stricter METRIC_L is that of "" instead, where the reference is in L (p >= 0.5) and the
  //   completion is not (p < 0.5), as EvoVLM-JP's published scorer has it.
  //   With several completions of each prompt also "problem", the sample's line; of filters that choose among them AnswerKey
  //   of each metric in place of it, and of those that vote BallotKey.
  // - With code: `prediction` is what the first filter gives; `values` has "passed", each "pass@k" of a single completion
  //   and "problem", the sample's line. Runs the program.
  // With a language L also "p_L" (its probability in the completion) and for each metric the stricter METRIC_L: 0 unless
  // p_L > 0.5. `correct`: MainMetric is 1. Internal: fastText failed. InvalidArgument: a filter that looks for the sample's
  // choices, and the row has no list `choices` of 1 to 26 texts.
  absl::StatusOr<SampleOutcome> ScoreCompletion(const Sample& sample, absl::string_view completion) const;

  // What the model makes of a sample's choices (multiple_choice: one score a choice, in order) or of its target (one score).
  // The likeliest choice is the prediction, the first among equals; acc_norm divides log-likelihoods by the choice's
  // characters, acc_bytes by its bytes; acc_mutual_info takes off each what the choice has without a prompt, whose scores
  // stand behind the others; brier_score is of the choices' shares of probability (lm-evaluation-harness 0.4.13). `values`
  // also has "gold", "pred" and each choice's log-likelihood "ll_0", "ll_1" ...; for a target "log_likelihood", "bytes" and
  // "words". REQUIRES: that many scores; with acc_mutual_info twice as many.
  SampleOutcome ScoreContinuations(const Sample& sample, absl::Span<const ContinuationScore> scores) const;

  // The result of any samples of the benchmark. See Metrics in aggregate.h. REQUIRES: not empty.
  BenchmarkResult Aggregated(std::vector<SampleOutcome> outcomes) const;

  // completions[i] is the answer to samples[i]. InvalidArgument: no samples, or not one completion a sample; errors of
  // ScoreCompletion.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const Sample> samples, absl::Span<const std::string> completions) const;

 private:
  // The list `choices` of the sample's row, for a filter that needs it. InvalidArgument: there is none.
  absl::StatusOr<std::vector<std::string>> ChoicesOf(const Sample& sample) const;
  absl::StatusOr<bool> Passes(const Sample& sample, const std::string& completion) const;

  Scorer(const BenchmarkDefinition& definition, const NumberRule* rule, std::shared_ptr<const LanguageId> language_id);

  const std::string benchmark_;
  const std::string language_;
  const bool language_of_reference_;
  const BenchmarkOutput output_;
  const std::vector<MetricKey> keys_;
  const std::string main_;
  const NumberRule* const rule_;  // null with filters and metrics
  std::vector<AnswerFilter> filters_;
  std::vector<AnswerChoice> completions_;  // of each filter: which of a prompt's count
  const bool several_;                     // completions of each prompt
  std::vector<TextMetric> metrics_;
  std::vector<std::pair<std::string, TranslationMetric>> translations_;
  const std::optional<CodeSettings> code_;
  std::optional<Template> program_;                      // of code
  std::optional<Sandbox> sandbox_;                       // likewise
  const std::shared_ptr<const LanguageId> language_id_;  // with the process's other scorers; null without a language
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SCORER_H_

// From completions to metrics.
#ifndef MERGANSER_WORKER_BENCHMARK_SCORER_H_
#define MERGANSER_WORKER_BENCHMARK_SCORER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/language_id.h"
#include "worker/benchmark/number_rule.h"
#include "worker/benchmark/sample.h"

namespace merganser {

struct ScorerOptions {
  // lid.176.ftz; "": see FindLanguageModel. Read only if a benchmark checks the language.
  std::string language_model;
};

// Scores completions by one benchmark's rules. Immutable, thread-safe.
class Scorer {
 public:
  // Where no path of the language model is given, it is also looked for in `folders`.
  // InvalidArgument: unknown number rule or language, broken model. FailedPrecondition: the model
  // is missing.
  static absl::StatusOr<std::unique_ptr<Scorer>> Create(const BenchmarkDefinition& definition,
                                                        const ScorerOptions& options,
                                                        const std::vector<std::string>& folders);

  // completions[i] is the answer to samples[i]. Per sample, `prediction` is the number found
  // ("18.0"; "" if none), `values` has "acc" (1 if it equals the answer, else 0) and with a
  // language L also "p_L" (its probability) and "acc_L" (1 if acc and p_L > 0.5); `correct` follows
  // the strictest. Metrics are means over all samples. InvalidArgument: no samples, or not one
  // completion a sample. Internal: fastText failed.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const Sample> samples,
                                        absl::Span<const std::string> completions) const;

 private:
  Scorer(const BenchmarkDefinition& definition, const NumberRule* rule,
         std::shared_ptr<const LanguageId> language_id);

  const std::string benchmark_;
  const std::string language_;
  const std::vector<std::string> metrics_;
  const NumberRule* const rule_;
  const std::shared_ptr<const LanguageId>
      language_id_;  // with the process's other scorers; null without a language
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SCORER_H_

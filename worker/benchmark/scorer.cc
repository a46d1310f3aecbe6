#include "worker/benchmark/scorer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {

Scorer::Scorer(const BenchmarkDefinition& definition, const NumberRule* rule,
               std::shared_ptr<const LanguageId> language_id)
    : benchmark_(definition.name),
      language_(definition.language),
      metrics_(MetricNames(definition)),
      rule_(rule),
      language_id_(std::move(language_id)) {}

absl::StatusOr<std::unique_ptr<Scorer>> Scorer::Create(const BenchmarkDefinition& definition,
                                                       const ScorerOptions& options,
                                                       const std::vector<std::string>& folders) {
  const std::string where = absl::StrCat("benchmark '", definition.name, "'");
  const auto rule = NumberRule::ByName(definition.extract);
  if (!rule.ok()) return Annotate(rule.status(), where);
  std::shared_ptr<const LanguageId> language_id;
  if (!definition.language.empty()) {
    const auto path = FindLanguageModel(options.language_model, folders);
    if (!path.ok()) return Annotate(path.status(), where);
    auto loaded = LanguageId::Load(*path);
    if (!loaded.ok()) return Annotate(loaded.status(), where);
    MG_RETURN_IF_ERROR(Annotate((*loaded)->CheckLanguage(definition.language), where));
    language_id = *std::move(loaded);
  }
  return std::unique_ptr<Scorer>(new Scorer(definition, *rule, std::move(language_id)));
}

absl::StatusOr<BenchmarkResult> Scorer::Score(absl::Span<const Sample> samples,
                                              absl::Span<const std::string> completions) const {
  if (samples.empty() || samples.size() != completions.size()) {
    return absl::InvalidArgumentError(absl::StrCat("benchmark '", benchmark_,
                                                   "': ", completions.size(), " completions for ",
                                                   samples.size(), " samples"));
  }
  BenchmarkResult result;
  result.benchmark = benchmark_;
  result.samples.reserve(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    SampleOutcome outcome;
    outcome.question = samples[i].question;
    outcome.answer = samples[i].answer;
    outcome.completion = completions[i];
    bool correct = false;
    if (auto number = rule_->Extract(completions[i])) {
      correct = number->value == samples[i].answer_value;
      outcome.prediction = std::move(number->text);
    }
    outcome.values["acc"] = correct ? 1 : 0;
    if (language_id_ != nullptr) {
      MG_ASSIGN_OR_RETURN(const double p, language_id_->Probability(completions[i], language_));
      outcome.values[absl::StrCat("p_", language_)] = p;
      correct = correct && p > 0.5;
      outcome.values[metrics_.back()] = correct ? 1 : 0;
    }
    outcome.correct = correct;
    result.samples.push_back(std::move(outcome));
  }
  for (const std::string& metric : metrics_) {
    double sum = 0;
    for (const SampleOutcome& outcome : result.samples) sum += outcome.values.at(metric);
    result.metrics[metric] = sum / static_cast<double>(samples.size());
  }
  return result;
}

}  // namespace merganser

#include "worker/benchmark/scorer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/aggregate.h"
#include "worker/benchmark/text_forms.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

constexpr size_t kProgramsAtOnce = 8;
constexpr size_t kTranslationsAThread = 8;
constexpr double kInLanguage = 0.5;  // strictly above

// The first of the largest, as numpy's argmax.
int ArgMax(const std::vector<double>& values) {
  int best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (values[i] > values[best]) best = static_cast<int>(i);
  }
  return best;
}

// The squared distance of the softmax of `log_likelihoods` from the right choice's.
double BrierScore(const std::vector<double>& log_likelihoods, int gold) {
  const double most = *std::max_element(log_likelihoods.begin(), log_likelihoods.end());
  std::vector<double> shares;
  double sum = 0, score = 0;
  for (const double ll : log_likelihoods) sum += shares.emplace_back(std::exp(ll - most));
  for (size_t i = 0; i < shares.size(); ++i) {
    const double away = shares[i] / sum - (static_cast<int>(i) == gold ? 1 : 0);
    score += away * away;
  }
  return score;
}

double CharacterCount(absl::string_view text) {
  double count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(std::max(1, Utf8Character(text, nullptr)));
  return count;
}

// len(re.split(r"\s+", text)): a text that begins or ends with white space has an empty word there.
double WordCount(absl::string_view text) {
  double words = 1;
  bool in_space = false;
  while (!text.empty()) {
    const int length = std::max(1, Utf8Character(text, nullptr));
    const bool space = StripWhitespace(text.substr(0, length)).empty();
    if (space && !in_space) ++words;
    in_space = space;
    text.remove_prefix(length);
  }
  return words;
}

}  // namespace

Scorer::Scorer(const BenchmarkDefinition& definition, const NumberRule* rule, std::shared_ptr<const LanguageId> language_id)
    : benchmark_(definition.name),
      language_(definition.language),
      language_of_reference_(definition.language_of_reference),
      output_(definition.output),
      keys_(MetricKeys(definition)),
      main_(MainMetric(definition)),
      rule_(rule),
      several_(definition.completions > 1 && !definition.code),
      code_(definition.code),
      language_id_(std::move(language_id)) {}

absl::StatusOr<std::unique_ptr<Scorer>> Scorer::Create(const BenchmarkDefinition& definition, const ScorerOptions& options,
                                                       const std::vector<std::string>& folders) {
  const std::string where = absl::StrCat("benchmark '", definition.name, "'");
  const NumberRule* rule = nullptr;
  if (!definition.extract.empty()) {
    const auto by_name = NumberRule::ByName(definition.extract);
    if (!by_name.ok()) return Annotate(by_name.status(), where);
    rule = *by_name;
  }
  std::shared_ptr<const LanguageId> language_id;
  if (!definition.language.empty() && definition.output == BenchmarkOutput::kGenerateUntil) {
    const auto path = FindLanguageModel(options.language_model, folders);
    if (!path.ok()) return Annotate(path.status(), absl::StrCat(where, ": language"));
    auto loaded = LanguageId::Load(*path);
    if (!loaded.ok()) return Annotate(loaded.status(), absl::StrCat(where, ": language"));
    MG_RETURN_IF_ERROR(Annotate((*loaded)->CheckLanguage(definition.language), where));
    language_id = *std::move(loaded);
  }
  std::unique_ptr<Scorer> scorer(new Scorer(definition, rule, std::move(language_id)));
  if (rule != nullptr || definition.output != BenchmarkOutput::kGenerateUntil) return scorer;
  if (definition.code) {
    if (!options.allow_commands) {
      return absl::PermissionDeniedError(absl::StrCat(where,
                                                      " runs programs that the model writes, which this machine's operator "
                                                      "has not allowed: start with --allow-commands"));
    }
    auto program = Template::Compile(absl::StrCat("code.program of ", where), definition.code->program);
    if (!program.ok()) return program.status();
    scorer->program_.emplace(*std::move(program));
    auto sandbox = Sandbox::Create();
    if (!sandbox.ok()) return Annotate(sandbox.status(), where);
    for (const std::string& gap : sandbox->gaps()) MG_LOG(WARNING) << where << ": " << gap;
    scorer->sandbox_.emplace(*std::move(sandbox));
  }
  for (const FilterSpec& spec : definition.filters) {
    auto filter = AnswerFilter::Create(spec);
    if (!filter.ok()) return Annotate(filter.status(), where);
    scorer->filters_.push_back(*std::move(filter));
    const auto choice = ChoiceOfCompletions(spec, definition.completions);
    if (!choice.ok()) return Annotate(choice.status(), where);
    scorer->completions_.push_back(scorer->several_ ? *choice : AnswerChoice());
  }
  for (const MetricSpec& spec : definition.metrics) {
    if (definition.code) break;  // pass@k are of the values that a run gives
    const std::vector<std::string>& translations = TranslationMetric::Names();
    if (std::find(translations.begin(), translations.end(), spec.name) != translations.end()) {
      scorer->translations_.emplace_back(spec.name, TranslationMetric(spec.name));
      continue;
    }
    auto metric = TextMetric::Create(spec);
    if (!metric.ok()) return Annotate(metric.status(), where);
    if (metric->needs_morphemes()) {
      const auto dictionary = FindMecabDictionary(folders);
      if (!dictionary.ok()) return Annotate(dictionary.status(), where);
      auto morphemes = Morphemes::Load(*dictionary);
      if (!morphemes.ok()) return Annotate(morphemes.status(), where);
      metric->SetMorphemes(*std::move(morphemes));
    }
    if (metric->needs_tokens()) {
      if (options.model == nullptr) {
        return absl::FailedPreconditionError(absl::StrCat(
            where, ": metrics: ", spec.name, ": unit 'tokens' counts the model's own tokens, and here is no model; give ",
            "metrics: [{name: ", spec.name, ", unit: mecab}]"));
      }
      metric->SetTokens(options.model);
    }
    scorer->metrics_.push_back(*std::move(metric));
  }
  return scorer;
}

absl::StatusOr<SampleOutcome> Scorer::ScoreCompletion(const Sample& sample, absl::string_view completion) const {
  SampleOutcome outcome;
  outcome.question = sample.question;
  outcome.answer = sample.answer;
  outcome.completion = std::string(completion);
  bool in_language = true;
  if (language_id_ != nullptr) {
    MG_ASSIGN_OR_RETURN(const double p, language_id_->Probability(completion, language_));
    outcome.values[absl::StrCat("p_", language_)] = p;
    in_language = p > kInLanguage;
    if (language_of_reference_ && !sample.references.empty()) {
      MG_ASSIGN_OR_RETURN(const double p_reference, language_id_->Probability(sample.references.front(), language_));
      in_language = p_reference < kInLanguage || p >= kInLanguage;
    }
  }
  const auto set = [&](absl::string_view metric, absl::string_view filter, double value, bool chosen = false) {
    const auto put = [&](const std::string& key, double v) { outcome.values[chosen ? AnswerKey(key) : key] = v; };
    put(KeyName(metric, "", filter), value);
    if (language_id_ != nullptr) put(KeyName(metric, language_, filter), in_language ? value : 0);
  };
  if (rule_ != nullptr) {
    bool equal = false;
    if (auto number = rule_->Extract(completion)) {
      equal = number->value == sample.answer_value;
      outcome.prediction = std::move(number->text);
    }
    set("acc", "", equal ? 1 : 0);
  }
  if (several_) outcome.values["problem"] = static_cast<double>(sample.line);
  for (size_t f = 0; f < filters_.size(); ++f) {
    std::vector<std::string> choices;
    if (filters_[f].needs_choices()) {
      MG_ASSIGN_OR_RETURN(choices, ChoicesOf(sample));
    }
    std::string ballot;
    std::string prediction = filters_[f].Apply(completion, choices, &ballot);
    // A double holds 53 bits.
    if (completions_[f].vote) {
      outcome.values[BallotKey(filters_[f].name())] = static_cast<double>(StableHash64(ballot) >> 11);
    }
    if (code_) {
      MG_ASSIGN_OR_RETURN(const bool passes, Passes(sample, prediction));
      outcome.values["passed"] = passes;
      outcome.values["problem"] = static_cast<double>(sample.line);
      for (const MetricKey& key : keys_) {
        if (key.aggregation == Aggregation::kMean) outcome.values[key.name] = passes;
      }
    }
    for (const TextMetric& metric : metrics_) {
      MG_ASSIGN_OR_RETURN(const double value, metric.Best(prediction, sample.references));
      const bool chosen = completions_[f] != AnswerChoice();
      set(metric.name(), filters_[f].name(), value, chosen);
      if (language_id_ == nullptr || !language_of_reference_ || in_language) continue;
      const std::string key = KeyName(metric.name(), language_, filters_[f].name());
      MG_ASSIGN_OR_RETURN(outcome.values[chosen ? AnswerKey(key) : key],
                          metric.Best(filters_[f].Apply("", choices), sample.references));
    }
    for (const auto& [name, metric] : translations_) {
      const auto count = [&](absl::string_view language, absl::string_view text) {
        const TranslationCounts counts = metric.Counts(text, sample.references);
        const std::string key = KeyName(name, language, filters_[f].name());
        for (size_t i = 0; i < counts.size(); ++i) outcome.values[TranslationCountKey(key, i)] = counts[i];
      };
      count("", prediction);
      if (language_id_ != nullptr) count(language_, in_language ? prediction : "");
    }
    if (f == 0) outcome.prediction = std::move(prediction);
  }
  auto main = outcome.values.find(code_ ? "passed" : main_);
  if (main == outcome.values.end()) main = outcome.values.find(AnswerKey(main_));
  outcome.correct = main != outcome.values.end() && main->second == 1;
  return outcome;
}

absl::StatusOr<std::vector<std::string>> Scorer::ChoicesOf(const Sample& sample) const {
  constexpr size_t kLetters = 26;
  const auto fields = nlohmann::json::parse(sample.fields_json, nullptr, /*allow_exceptions=*/false);
  const auto field = fields.is_object() ? fields.find("choices") : fields.end();
  std::vector<std::string> choices;
  bool texts = field != fields.end() && field->is_array() && !field->empty() && field->size() <= kLetters;
  for (size_t i = 0; texts && i < field->size(); ++i) {
    texts = (*field)[i].is_string();
    if (texts) choices.push_back((*field)[i].get<std::string>());
  }
  if (texts) return choices;
  return absl::InvalidArgumentError(absl::StrCat("benchmark '", benchmark_, "': line ", sample.line,
                                                 " has no list 'choices' of 1 to ", kLetters,
                                                 " texts, which a filter looks for"));
}

absl::StatusOr<bool> Scorer::Passes(const Sample& sample, const std::string& completion) const {
  nlohmann::json fields = nlohmann::json::parse(sample.fields_json, nullptr, /*allow_exceptions=*/false);
  if (!fields.is_object()) fields = nlohmann::json::object();
  fields["completion"] = completion;
  MG_ASSIGN_OR_RETURN(const std::string program,
                      program_->Render(fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  SandboxLimits limits;
  limits.timeout = absl::Seconds(code_->timeout);
  limits.memory_bytes = code_->memory_mib << 20;
  MG_ASSIGN_OR_RETURN(const SandboxOutcome ran, sandbox_->Run(program, limits, {}));
  return ran.passed;
}

SampleOutcome Scorer::ScoreContinuations(const Sample& sample, absl::Span<const ContinuationScore> scores) const {
  SampleOutcome outcome;
  outcome.question = sample.question;
  outcome.answer = sample.answer;
  std::map<std::string, double> all;
  if (output_ == BenchmarkOutput::kMultipleChoice) {
    std::vector<double> plain, by_characters, by_bytes, above_itself;
    const size_t count = sample.choices.size();
    for (size_t i = 0; i < count; ++i) {
      const double ll = scores[i].log_likelihood;
      plain.push_back(ll);
      by_characters.push_back(ll / CharacterCount(sample.choices[i]));
      by_bytes.push_back(ll / static_cast<double>(sample.choices[i].size()));
      outcome.values[absl::StrCat("ll_", i)] = ll;
      if (scores.size() == 2 * count) above_itself.push_back(ll - scores[count + i].log_likelihood);
    }
    const auto right = [&](int choice) {
      for (const int gold : sample.gold) {
        if (gold == choice) return 1.0;
      }
      return 0.0;
    };
    const int best = ArgMax(plain);
    bool greedy = false;
    for (const int gold : sample.gold) greedy = greedy || scores[gold].is_greedy;
    all = {{"acc", right(best)},
           {"acc_norm", right(ArgMax(by_characters))},
           {"acc_bytes", right(ArgMax(by_bytes))},
           {"exact_match", greedy ? 1 : 0},
           {"brier_score", BrierScore(plain, sample.gold.front())}};
    if (!above_itself.empty()) all["acc_mutual_info"] = right(ArgMax(above_itself));
    outcome.values["gold"] = sample.gold.front();
    outcome.values["pred"] = best;
    outcome.prediction = sample.choices[best];
  } else {
    const std::string& target = sample.references.front();
    outcome.values["log_likelihood"] = scores[0].log_likelihood;
    outcome.values["bytes"] = static_cast<double>(target.size());
    outcome.values["words"] = WordCount(target);
    all = {{"acc", scores[0].is_greedy ? 1 : 0}};
  }
  for (const MetricKey& key : keys_) {
    if (const auto it = all.find(key.name); it != all.end()) outcome.values[key.name] = it->second;
  }
  const auto main = outcome.values.find(main_);
  outcome.correct = main != outcome.values.end() ? main->second == 1 : all["acc"] == 1;
  return outcome;
}

BenchmarkResult Scorer::Aggregated(std::vector<SampleOutcome> outcomes) const {
  BenchmarkResult result;
  result.benchmark = benchmark_;
  result.metrics = Metrics(keys_, outcomes);
  result.samples = std::move(outcomes);
  return result;
}

absl::StatusOr<BenchmarkResult> Scorer::Score(absl::Span<const Sample> samples,
                                              absl::Span<const std::string> completions) const {
  if (samples.empty() || samples.size() != completions.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("benchmark '", benchmark_, "': ", completions.size(), " completions for ", samples.size(), " samples"));
  }
  std::vector<SampleOutcome> outcomes(samples.size());
  // Programs are processes of their own and may run until their timeout, and the edits of a long translation take a tenth of
  // a second: some at once.
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  size_t at_once = 1;
  if (code_) at_once = std::min(cores, kProgramsAtOnce);
  if (!translations_.empty()) at_once = std::clamp<size_t>(samples.size() / kTranslationsAThread, 1, cores);
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> failed(at_once);
  const auto work = [&](size_t worker) {
    for (size_t i = next++; i < samples.size() && failed[worker].ok(); i = next++) {
      absl::StatusOr<SampleOutcome> outcome = ScoreCompletion(samples[i], completions[i]);
      failed[worker] = outcome.status();
      if (outcome.ok()) outcomes[i] = *std::move(outcome);
    }
  };
  std::vector<std::jthread> helpers;
  for (size_t worker = 1; worker < at_once; ++worker) helpers.emplace_back(work, worker);
  work(0);
  helpers.clear();
  for (const absl::Status& status : failed) MG_RETURN_IF_ERROR(status);
  return Aggregated(std::move(outcomes));
}

}  // namespace merganser

#include "worker/benchmark/metric_keys.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_metrics.h"
#include "worker/benchmark/translation_metrics.h"

namespace merganser {
namespace {

const std::map<std::string, Aggregation>& Corpus() {
  static const auto* const corpus = new std::map<std::string, Aggregation>{
      {"mcc", Aggregation::kMcc},
      {"macro_f1", Aggregation::kMacroF1},
      {"f1", Aggregation::kBinaryF1},
      {"balanced_acc", Aggregation::kBalancedAcc},
      {"perplexity", Aggregation::kPerplexity},
      {"byte_perplexity", Aggregation::kBytePerplexity},
      {"bits_per_byte", Aggregation::kBitsPerByte},
      {"word_perplexity", Aggregation::kWordPerplexity},
  };
  return *corpus;
}

Aggregation AggregationOf(const std::string& metric) {
  const auto it = Corpus().find(metric);
  return it == Corpus().end() ? Aggregation::kMean : it->second;
}

bool IsTranslationMetric(const std::string& metric) {
  const std::vector<std::string>& names = TranslationMetric::Names();
  return std::find(names.begin(), names.end(), metric) != names.end();
}

std::vector<std::string> KnownMetrics(BenchmarkOutput output) {
  switch (output) {
    case BenchmarkOutput::kGenerateUntil: {
      std::vector<std::string> names = TextMetric::Names();
      names.insert(names.end(), TranslationMetric::Names().begin(), TranslationMetric::Names().end());
      return names;
    }
    case BenchmarkOutput::kMultipleChoice:
      return {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "balanced_acc",
              "mcc", "macro_f1", "f1",        "brier_score"};
    case BenchmarkOutput::kLogLikelihood:
      return {"acc", "log_likelihood", "perplexity", "bits_per_byte", "byte_perplexity"};
    case BenchmarkOutput::kRollingLogLikelihood:
      return {"log_likelihood", "bits_per_byte", "byte_perplexity", "word_perplexity"};
  }
  return {};
}

}  // namespace

std::string KeyName(absl::string_view metric, absl::string_view language, absl::string_view filter) {
  return absl::StrCat(metric, language.empty() ? "" : "_", language, filter.empty() ? "" : "@", filter);
}

std::string TranslationCountKey(absl::string_view key, size_t index) { return absl::StrCat(key, "#", index); }

// Without medians.
std::vector<MetricKey> PlainKeys(const BenchmarkDefinition& definition) {
  std::vector<MetricKey> keys;
  std::vector<std::string> languages = {""};
  if (!definition.language.empty() && definition.output == BenchmarkOutput::kGenerateUntil) {
    languages.push_back(definition.language);
  }
  for (const std::string& language : languages) {
    if (!definition.extract.empty()) {
      keys.push_back({KeyName("acc", language, "")});
    } else if (definition.output != BenchmarkOutput::kGenerateUntil) {
      for (const MetricSpec& metric : definition.metrics) keys.push_back({metric.name, AggregationOf(metric.name)});
    } else {
      for (const FilterSpec& filter : definition.filters) {
        for (const MetricSpec& metric : definition.metrics) {
          keys.push_back({KeyName(metric.name, language, filter.name)});
          if (IsTranslationMetric(metric.name)) {
            keys.back().aggregation = Aggregation::kTranslation;
            keys.back().metric = metric.name;
          }
          // One completion of each problem: a mean of samples, with all that goes with one.
          if (definition.completions == 1) continue;
          if (definition.code) {
            keys.back().aggregation = Aggregation::kPassAtK;
            keys.back().k = PassK(metric.name);
            continue;
          }
          keys.back().aggregation = Aggregation::kAnswers;
          if (const auto choice = ChoiceOfCompletions(filter, definition.completions); choice.ok()) {
            keys.back().choice = *choice;
          }
          keys.back().value = keys.back().choice == AnswerChoice() ? keys.back().name : AnswerKey(keys.back().name);
          if (keys.back().choice.vote) keys.back().ballot = BallotKey(filter.name);
        }
      }
    }
  }
  return keys;
}

std::vector<MetricKey> MetricKeys(const BenchmarkDefinition& definition) {
  std::vector<MetricKey> keys = PlainKeys(definition);
  for (size_t i = 0, n = keys.size(); i < n && definition.bootstrap_median; ++i) {
    if (keys[i].aggregation != Aggregation::kMean) continue;  // the median is of means
    keys.push_back({absl::StrCat(keys[i].name, kMedianSuffix), Aggregation::kBootstrapMedian});
  }
  return keys;
}

std::string MainMetric(const BenchmarkDefinition& definition) {
  const std::vector<MetricKey> keys = PlainKeys(definition);
  if (keys.empty()) return "average";
  const bool with_language = !definition.language.empty() && definition.output == BenchmarkOutput::kGenerateUntil;
  const MetricKey& main = keys[with_language ? keys.size() / 2 : 0];
  const bool median = definition.jp_lmeh && definition.bootstrap_median && main.aggregation == Aggregation::kMean;
  return median ? absl::StrCat(main.name, kMedianSuffix) : main.name;
}

bool SmallerIsBetter(absl::string_view metric) {
  metric = metric.substr(0, metric.find('@'));    // without the filter
  metric = metric.substr(metric.rfind('.') + 1);  // and the member
  for (const char* name : {"perplexity", "byte_perplexity", "bits_per_byte", "word_perplexity", "brier_score"}) {
    if (metric == name) return true;
  }
  return metric == "ter" || absl::StartsWith(metric, "ter_");  // in a language
}

std::string BallotKey(absl::string_view filter) { return KeyName("ballot", "", filter); }

std::string AnswerKey(absl::string_view key) { return absl::StrCat(key, "#"); }

int PassK(absl::string_view metric) {
  int k = 0;
  return absl::ConsumePrefix(&metric, "pass@") && absl::SimpleAtoi(metric, &k) && k > 0 ? k : 0;
}

absl::Status CheckMetrics(const BenchmarkDefinition& definition) {
  if (definition.code) {
    for (const MetricSpec& metric : definition.metrics) {
      const int k = PassK(metric.name);
      if (k == 0 || MetricSpec{metric.name} != metric) {
        return absl::InvalidArgumentError(
            absl::StrCat("metrics: '", metric.name, "': code has pass@1, pass@2 ..., without settings"));
      }
      if (k > definition.completions) {
        return absl::InvalidArgumentError(absl::StrCat("metrics: ", metric.name, " needs completions: ", k,
                                                       " or more; there are ", definition.completions));
      }
    }
    if (definition.filters.size() == 1 && definition.language.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("filters: of code there is one, and no language");
  }
  const std::vector<std::string> known = KnownMetrics(definition.output);
  std::set<std::string> seen;
  for (const MetricSpec& metric : definition.metrics) {
    if (std::find(known.begin(), known.end(), metric.name) == known.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("metrics: '", metric.name, "' is no metric of this output", DidYouMean(metric.name, known)));
    }
    if (!seen.insert(metric.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("metrics: '", metric.name, "' is given twice"));
    }
    if (IsTranslationMetric(metric.name) && definition.completions > 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "metrics: ", metric.name, " is of one completion of each prompt; there are ", definition.completions));
    }
    if (definition.output == BenchmarkOutput::kGenerateUntil && !IsTranslationMetric(metric.name)) {
      MG_RETURN_IF_ERROR(Annotate(TextMetric::Create(metric).status(), "metrics"));
    } else if (MetricSpec plain{metric.name}; metric != plain) {
      return absl::InvalidArgumentError(
          absl::StrCat("metrics: ", metric.name, ": only metrics that compare completions have settings"));
    }
  }
  return absl::OkStatus();
}

std::vector<MetricSpec> DefaultMetrics(BenchmarkOutput output) {
  switch (output) {
    case BenchmarkOutput::kGenerateUntil:
      return {{"exact_match"}};
    case BenchmarkOutput::kMultipleChoice:
      return {{"acc"}, {"acc_norm"}};
    case BenchmarkOutput::kLogLikelihood:
      return {{"acc"}, {"perplexity"}};
    case BenchmarkOutput::kRollingLogLikelihood:
      return {{"bits_per_byte"}, {"byte_perplexity"}, {"word_perplexity"}};
  }
  return {};
}

}  // namespace merganser

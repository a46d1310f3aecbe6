#include "worker/benchmark/settings.h"

#include "absl/strings/match.h"

namespace merganser {
namespace {

template <typename T>
void Set(const std::optional<T>& over, std::optional<T>& base) {
  if (over) base = over;
}

}  // namespace

BenchmarkSettings SettingsOf(const BenchmarkSpec& spec) {
  BenchmarkSettings settings;
  settings.name = spec.name;
  settings.use = spec.use;
  settings.data = spec.data;
  settings.prompt = spec.prompt;
  settings.max_new_tokens = spec.max_new_tokens;
  settings.stop = spec.stop;
  settings.extract = spec.extract;
  settings.language = spec.language;
  settings.limit = spec.limit;
  // A spec has no way to say "unset" for these, so only another name than the default overrides.
  const BenchmarkSpec defaults;
  if (spec.question_field != defaults.question_field) settings.question_field = spec.question_field;
  if (spec.answer_field != defaults.answer_field) settings.answer_field = spec.answer_field;
  return settings;
}

std::vector<BenchmarkSettings> SettingsOf(const std::vector<BenchmarkSpec>& specs) {
  std::vector<BenchmarkSettings> settings;
  for (const BenchmarkSpec& spec : specs) settings.push_back(SettingsOf(spec));
  return settings;
}

BenchmarkSettings Overlaid(BenchmarkSettings base, const BenchmarkSettings& over) {
  base.name = over.name;
  base.use = over.use;
  if (!over.data.empty()) base.data = over.data;
  Set(over.prompt, base.prompt);
  Set(over.max_new_tokens, base.max_new_tokens);
  Set(over.stop, base.stop);
  Set(over.extract, base.extract);
  Set(over.language, base.language);
  Set(over.limit, base.limit);
  Set(over.question_field, base.question_field);
  Set(over.answer_field, base.answer_field);
  Set(over.output, base.output);
  Set(over.description, base.description);
  Set(over.target, base.target);
  Set(over.choices, base.choices);
  Set(over.continuation, base.continuation);
  Set(over.target_delimiter, base.target_delimiter);
  Set(over.gen_prefix, base.gen_prefix);
  Set(over.bare_target, base.bare_target);
  Set(over.few_shot.count, base.few_shot.count);
  Set(over.few_shot.seed, base.few_shot.seed);
  Set(over.few_shot.python, base.few_shot.python);
  Set(over.few_shot.delimiter, base.few_shot.delimiter);
  Set(over.few_shot.from_data, base.few_shot.from_data);
  Set(over.few_shot.excludes_sample, base.few_shot.excludes_sample);
  if (over.few_shot.data || !over.few_shot.samples.empty()) {  // one source of examples replaces the other
    base.few_shot.data = over.few_shot.data;
    base.few_shot.samples = over.few_shot.samples;
  }
  Set(over.filters, base.filters);
  Set(over.metrics, base.metrics);
  Set(over.columns, base.columns);
  Set(over.average_of, base.average_of);
  if (!over.members.empty()) base.members = over.members;
  Set(over.average_metrics, base.average_metrics);
  Set(over.sampling, base.sampling);
  Set(over.code, base.code);
  Set(over.completions, base.completions);
  Set(over.skip, base.skip);
  Set(over.answer_tokens, base.answer_tokens);
  Set(over.language_of_reference, base.language_of_reference);
  Set(over.bootstrap_median, base.bootstrap_median);
  Set(over.jp_lmeh, base.jp_lmeh);
  Set(over.data_source, base.data_source);
  return base;
}

bool IsBenchmarkFile(const std::string& use) {
  return use.find('/') != std::string::npos || absl::EndsWith(use, ".yaml") || absl::EndsWith(use, ".yml");
}

}  // namespace merganser

#include "worker/benchmark/builtin_benchmarks.h"

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/number_rule.h"

namespace merganser {
namespace {

constexpr int kNewTokensMax = 1 << 20;  // longer than any context we run
constexpr size_t kStopMax = 64;         // each is searched for after every token

// prompt_templates.py of SakanaAI/evolutionary-model-merge, `ja-alpaca-cot`, byte for byte.
constexpr char kJaAlpacaCot[] =
    "以下に、あるタスクを説明する指示があります。リクエストを適切に完了するための回答を日本語で記述"
    "してください。"
    "一歩一歩考えましょう。\n\n### 指示:\n{{question}}\n\n### 応答:";

// The harness drops a "問題：" that the question may begin with before it writes its own.
constexpr char kJpLmeh[] = "問題：{{question | replace('問題：', '')}}\nステップごとの答え：";

BenchmarkDefinition MgsmJa() {
  BenchmarkDefinition mgsm;
  mgsm.prompt = kJaAlpacaCot;
  mgsm.max_new_tokens = 1024;
  mgsm.stop = {"Instruction:", "Instruction", "Response:", "Response"};
  mgsm.extract = "sakana";
  mgsm.language = "ja";
  return mgsm;
}

BenchmarkDefinition MgsmJaLmeh() {
  BenchmarkDefinition mgsm;
  mgsm.prompt = kJpLmeh;
  mgsm.max_new_tokens = 256;
  mgsm.stop = {"\n"};
  mgsm.extract = "jp_lmeh";
  return mgsm;
}

void Overlay(const BenchmarkSpec& spec, BenchmarkDefinition& definition) {
  definition.name = spec.name;
  if (!spec.data.empty()) definition.data = spec.data;
  if (spec.prompt) definition.prompt = *spec.prompt;
  if (spec.max_new_tokens) definition.max_new_tokens = *spec.max_new_tokens;
  if (spec.stop) definition.stop = *spec.stop;
  if (spec.extract) definition.extract = *spec.extract;
  if (spec.language) definition.language = *spec.language;
  if (spec.limit) definition.limit = spec.limit;
  // The spec has no way to say "unset" for these, so only another name than the default overrides.
  const BenchmarkSpec defaults;
  if (spec.question_field != defaults.question_field)
    definition.question_field = spec.question_field;
  if (spec.answer_field != defaults.answer_field) definition.answer_field = spec.answer_field;
}

// `depth`: how many uses led here; more than there are siblings is a cycle.
absl::StatusOr<BenchmarkDefinition> Base(const BenchmarkSpec& spec,
                                         absl::Span<const BenchmarkSpec> siblings, size_t depth) {
  if (spec.use.empty()) return BenchmarkDefinition();
  for (const BenchmarkSpec& sibling : siblings) {
    // A benchmark that is named as the built-in which it uses means the built-in.
    if (sibling.name != spec.use || sibling.name == spec.name) continue;
    if (depth >= siblings.size()) {
      return absl::InvalidArgumentError(absl::StrCat("use '", spec.use, "' leads back to itself"));
    }
    MG_ASSIGN_OR_RETURN(BenchmarkDefinition base, Base(sibling, siblings, depth + 1));
    Overlay(sibling, base);
    return base;
  }
  if (spec.use == "mgsm_ja") return MgsmJa();
  if (spec.use == "mgsm_ja_lmeh") return MgsmJaLmeh();
  std::vector<std::string> known = BuiltinBenchmarkNames();
  for (const BenchmarkSpec& sibling : siblings) {
    if (sibling.name != spec.name) known.push_back(sibling.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("use '", spec.use, "' is not a benchmark", DidYouMean(spec.use, known)));
}

absl::Status Check(const BenchmarkSpec& spec, const BenchmarkDefinition& definition) {
  if (definition.extract.empty()) {
    return absl::InvalidArgumentError(
        "field 'extract' is missing: a benchmark without 'use' names its number rule (sakana or "
        "jp_lmeh)");
  }
  MG_RETURN_IF_ERROR(NumberRule::ByName(definition.extract).status());
  if (spec.max_new_tokens && (*spec.max_new_tokens < 1 || *spec.max_new_tokens > kNewTokensMax)) {
    return absl::InvalidArgumentError(absl::StrCat("max_new_tokens ", *spec.max_new_tokens,
                                                   " is not in [1, ", kNewTokensMax, "]"));
  }
  if (spec.limit && *spec.limit < 1) {
    return absl::InvalidArgumentError(absl::StrCat("limit ", *spec.limit, " is below 1"));
  }
  if (definition.stop.size() > kStopMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop has ", definition.stop.size(), " strings, more than ", kStopMax));
  }
  for (size_t i = 0; i < definition.stop.size(); ++i) {
    if (definition.stop[i].empty()) {
      return absl::InvalidArgumentError(absl::StrCat("stop[", i, "] is empty"));
    }
  }
  if (definition.question_field.empty() || definition.answer_field.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        definition.question_field.empty() ? "question_field" : "answer_field", " is empty"));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& BuiltinBenchmarkNames() {
  static const auto* const names = new std::vector<std::string>{"mgsm_ja", "mgsm_ja_lmeh"};
  return *names;
}

absl::StatusOr<BenchmarkDefinition> ResolveBenchmark(const BenchmarkSpec& spec,
                                                     absl::Span<const BenchmarkSpec> siblings) {
  const std::string where = absl::StrCat("benchmark '", spec.name, "'");
  auto definition = Base(spec, siblings, 0);
  if (!definition.ok()) return Annotate(definition.status(), where);
  Overlay(spec, *definition);
  MG_RETURN_IF_ERROR(Annotate(Check(spec, *definition), where));
  return definition;
}

std::vector<std::string> MetricNames(const BenchmarkDefinition& definition) {
  if (definition.language.empty()) return {"acc"};
  return {"acc", absl::StrCat("acc_", definition.language)};
}

}  // namespace merganser

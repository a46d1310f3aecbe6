#include "worker/benchmark/builtin_benchmarks.h"

#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/answer_filter.h"
#include "worker/benchmark/average_metrics.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/builtin_table.h"
#include "worker/benchmark/metric_keys.h"
#include "worker/benchmark/number_rule.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr int kNewTokensMax = 1 << 20;  // longer than any context we run
constexpr size_t kStopMax = 64;         // each is searched for after every token
constexpr int kFewShotsMax = 1000;
constexpr size_t kMembersMax = 4096;
constexpr size_t kFilesMax = 8;  // that use each other

// A spec with everything that it uses under it, and the built-in at the bottom.
struct Layers {
  BenchmarkSettings spec;
  const BuiltinBenchmark* builtin = nullptr;  // may be null
};

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

Layers BuiltinLayers(const BuiltinBenchmark& builtin) {
  Layers layers;
  if (!builtin.spec.use.empty()) layers = BuiltinLayers(*FindBuiltin(builtin.spec.use));
  layers.spec = Overlaid(std::move(layers.spec), builtin.spec);
  layers.builtin = &builtin;
  return layers;
}

absl::StatusOr<Layers> Base(const BenchmarkSettings& spec, absl::Span<const BenchmarkSettings> siblings, size_t depth) {
  if (spec.use.empty()) return Layers();
  for (const BenchmarkSettings& sibling : siblings) {
    // A benchmark that is named as the built-in which it uses means the built-in.
    if (sibling.name != spec.use || sibling.name == spec.name) continue;
    if (depth >= siblings.size() + kFilesMax) return Bad(absl::StrCat("use '", spec.use, "' leads back to itself"));
    MG_ASSIGN_OR_RETURN(Layers base, Base(sibling, siblings, depth + 1));
    base.spec = Overlaid(std::move(base.spec), sibling);
    return base;
  }
  if (const BuiltinBenchmark* builtin = FindBuiltin(spec.use)) return BuiltinLayers(*builtin);
  if (IsBenchmarkFile(spec.use)) {
    if (depth > kFilesMax) return Bad(absl::StrCat("more than ", kFilesMax, " files that use each other"));
    auto settings = ReadBenchmarkFile(spec.use);
    if (!settings.ok()) return Annotate(settings.status(), "use");
    settings->name = spec.name;
    MG_ASSIGN_OR_RETURN(Layers base, Base(*settings, siblings, depth + 1));
    base.spec = Overlaid(std::move(base.spec), *settings);
    return base;
  }
  std::vector<std::string> known = BuiltinBenchmarkNames();
  if (ClosestName(spec.use, known).empty()) {
    // The subjects are many.
    std::erase_if(known, [](const std::string& name) { return absl::StrContains(name, "mmlu_"); });
    known.insert(known.end(), {"mmlu_SUBJECT", "jmmlu_SUBJECT"});
  }
  for (const BenchmarkSettings& sibling : siblings) {
    if (sibling.name != spec.name) known.push_back(sibling.name);
  }
  return Bad(absl::StrCat("use '", spec.use, "' is not a benchmark", DidYouMean(spec.use, known)));
}

absl::StatusOr<BenchmarkOutput> ParseOutput(const std::string& name) {
  static const auto* const outputs = new std::map<std::string, BenchmarkOutput>{
      {"generate_until", BenchmarkOutput::kGenerateUntil},
      {"multiple_choice", BenchmarkOutput::kMultipleChoice},
      {"loglikelihood", BenchmarkOutput::kLogLikelihood},
      {"loglikelihood_rolling", BenchmarkOutput::kRollingLogLikelihood},
  };
  const auto it = outputs->find(name);
  if (it != outputs->end()) return it->second;
  std::vector<std::string> known;
  for (const auto& [known_name, output] : *outputs) known.push_back(known_name);
  return Bad(absl::StrCat("output '", name, "' does not exist", DidYouMean(name, known)));
}

// `file` ("jnli-v1.1/valid-v1.1.json") in `folder`, or, where it is not there, what lies directly in `folder` under its last
// name; a packed one, if that is all there is, whose reader says how to unpack it.
std::string FileIn(const fs::path& folder, const std::string& file) {
  std::error_code error;
  for (const char* ending : {"", ".gz"}) {
    for (const fs::path& path : {folder / file, folder / fs::path(file).filename()}) {
      if (fs::exists(path.string() + ending, error)) return path.string() + ending;
    }
  }
  return (folder / file).string();
}

// The names of the built-in's files in the release that `data`, a file or a folder, is of; the first one's if it is of none.
std::pair<std::string, std::string> ReleaseOf(const BuiltinBenchmark& builtin, const std::string& data) {
  std::vector<std::pair<std::string, std::string>> releases = builtin.other_releases;
  releases.insert(releases.begin(), {builtin.file, builtin.few_shot_file});
  std::error_code error;
  for (const auto& release : releases) {
    if (fs::is_directory(data, error) && fs::exists(FileIn(data, release.first), error)) return release;
    if (fs::path(data).filename() == fs::path(release.first).filename()) return release;
  }
  return releases.front();
}

// The files that a folder or a file of the user's stands for.
void Locate(const Layers& layers, BenchmarkDefinition* definition) {
  definition->data = layers.spec.data;
  if (layers.spec.few_shot.data) definition->few_shot.data = *layers.spec.few_shot.data;
  definition->data_source = layers.spec.data_source.value_or("");
  if (layers.builtin == nullptr) return;
  if (definition->data_source.empty()) definition->data_source = layers.builtin->source;
  const auto [file, few_shot_file] = ReleaseOf(*layers.builtin, definition->data);
  std::error_code error;
  fs::path folder = fs::path(definition->data).parent_path();
  // The file itself, within the folders that it lies in: the folder is the one that holds these.
  if (absl::EndsWith(definition->data, absl::StrCat("/", file))) {
    folder = definition->data.substr(0, definition->data.size() - file.size() - 1);
  }
  if (fs::is_directory(definition->data, error)) {
    folder = definition->data;
    // Without a file of its own the folder stays, and reading it says what is wrong.
    if (!file.empty()) definition->data = FileIn(folder, file);
  }
  if (definition->few_shot.data.empty() && definition->few_shot.samples.empty() && !few_shot_file.empty() &&
      !definition->data.empty()) {
    definition->few_shot.data = FileIn(folder, few_shot_file);
  }
}

// A member that is no built-in and has no data of its own: FOLDER/NAME.jsonl, its examples FOLDER/NAME.train.jsonl.
void LocateMember(const std::string& folder, BenchmarkSettings* member) {
  std::error_code error;
  if (!member->data.empty() || !fs::is_directory(folder, error)) return;
  member->data = (fs::path(folder) / absl::StrCat(member->name, ".jsonl")).string();
  const std::string shots = (fs::path(folder) / absl::StrCat(member->name, ".train.jsonl")).string();
  const bool needed = !member->few_shot.data && member->few_shot.samples.empty();
  if (needed && fs::exists(shots, error)) member->few_shot.data = shots;
}

absl::Status CheckSampling(const BenchmarkSampling& s) {
  if (!(s.temperature >= 0 && s.temperature <= 100)) return Bad("sampling.temperature is not in [0, 100]");
  if (!(s.top_p > 0 && s.top_p <= 1)) return Bad("sampling.top_p is not in (0, 1]");
  if (s.top_k < 0) return Bad("sampling.top_k is below 0");
  if (!(s.repetition_penalty > 0 && s.repetition_penalty <= 100)) {
    return Bad("sampling.repetition_penalty is not in (0, 100]");
  }
  if (s.beams < 1 || s.beams > 64) return Bad("sampling.beams is not in [1, 64]");
  if (s.beams > 1 && s.temperature != 0) return Bad("sampling: beams and a temperature exclude each other");
  return absl::OkStatus();
}

constexpr int kCompletionsMax = 1000;

absl::Status CheckSampled(const BenchmarkDefinition& d) {
  if (d.completions == 1 || d.sampling.temperature != 0) return absl::OkStatus();
  return Bad("completions: they would all be the same; give sampling: {temperature: ...}");
}

absl::Status CheckCompletions(const BenchmarkDefinition& d) {
  if (d.completions < 1 || d.completions > kCompletionsMax) {
    return Bad(absl::StrCat("completions ", d.completions, " is not in [1, ", kCompletionsMax, "]"));
  }
  if (!d.code) {
    if (d.completions > 1 && d.output != BenchmarkOutput::kGenerateUntil) {
      return Bad("completions: more than one a prompt only with output generate_until");
    }
    for (const FilterSpec& filter : d.filters) {
      MG_RETURN_IF_ERROR(Annotate(ChoiceOfCompletions(filter, d.completions).status(), "filters"));
    }
    return CheckSampled(d);
  }
  if (d.output != BenchmarkOutput::kGenerateUntil) return Bad("code: only completions (output generate_until) are run");
  if (!(d.code->timeout > 0 && d.code->timeout <= 3600)) return Bad("code.timeout is not in (0, 3600] seconds");
  if (d.code->memory_mib < 64 || d.code->memory_mib > 1 << 20) return Bad("code.memory is not in [64, 1048576] MiB");
  return CheckSampled(d);
}

absl::Status CheckOutput(const BenchmarkDefinition& d) {
  const bool generates = d.output == BenchmarkOutput::kGenerateUntil;
  if (generates && d.extract.empty() && d.target.empty() && !d.code) {
    return Bad(
        "field 'extract' is missing: a benchmark without 'use' names its number rule (sakana or jp_lmeh), or a 'target' to "
        "which metrics compare");
  }
  if (!d.extract.empty()) {
    if (d.code || d.completions != 1) return Bad("extract: code and completions have no number rule");
    if (!generates) return Bad("extract: only completions (output generate_until) have a number read off them");
    MG_RETURN_IF_ERROR(NumberRule::ByName(d.extract).status());
    return absl::OkStatus();
  }
  if (d.output == BenchmarkOutput::kMultipleChoice) {
    if (d.choices.empty()) return Bad("field 'choices' is missing");
    if (d.target.empty()) return Bad("field 'target' is missing: the index or the text of the right choice");
  } else {
    if (d.continuation) return Bad("continuation: only multiple_choice has one");
    if (!generates && !d.choices.empty()) return Bad("choices: only multiple_choice and generate_until have them");
  }
  if (d.output == BenchmarkOutput::kRollingLogLikelihood && d.few_shot.count > 0) {
    return Bad("few_shot: loglikelihood_rolling has no prompt");
  }
  MG_RETURN_IF_ERROR(CheckCompletions(d));
  MG_RETURN_IF_ERROR(CheckMetrics(d));
  for (size_t i = 0; i < d.filters.size(); ++i) {
    MG_RETURN_IF_ERROR(Annotate(AnswerFilter::Create(d.filters[i]).status(), "filters"));
    for (size_t k = 0; k < i; ++k) {
      if (d.filters[i].name == d.filters[k].name) {
        return Bad(absl::StrCat("filters: two are called '", d.filters[i].name, "'"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const BenchmarkSettings& spec, const BenchmarkDefinition& d) {
  if (d.skip > 0 && !d.extract.empty()) return Bad("skip: not where a number rule scores");
  if (d.skip < 0) return Bad(absl::StrCat("skip ", d.skip, " is below 0"));
  if (spec.limit && *spec.limit < 1) return Bad(absl::StrCat("limit ", *spec.limit, " is below 1"));
  if (!d.average_of.empty()) {
    if (d.average_of.size() > kMembersMax) return Bad(absl::StrCat("average_of has more than ", kMembersMax, " members"));
    return absl::OkStatus();
  }
  MG_RETURN_IF_ERROR(CheckOutput(d));
  if (spec.max_new_tokens && (*spec.max_new_tokens < 1 || *spec.max_new_tokens > kNewTokensMax)) {
    return Bad(absl::StrCat("max_new_tokens ", *spec.max_new_tokens, " is not in [1, ", kNewTokensMax, "]"));
  }
  if (d.few_shot.count < 0 || d.few_shot.count > kFewShotsMax) {
    return Bad(absl::StrCat("few_shot.count ", d.few_shot.count, " is not in [0, ", kFewShotsMax, "]"));
  }
  if (d.stop.size() > kStopMax) return Bad(absl::StrCat("stop has ", d.stop.size(), " strings, more than ", kStopMax));
  for (size_t i = 0; i < d.stop.size(); ++i) {
    if (d.stop[i].empty()) return Bad(absl::StrCat("stop[", i, "] is empty"));
  }
  if (d.question_field.empty() || d.answer_field.empty()) {
    return Bad(absl::StrCat(d.question_field.empty() ? "question_field" : "answer_field", " is empty"));
  }
  if (d.answer_tokens && (*d.answer_tokens < 0 || *d.answer_tokens > kNewTokensMax)) {
    return Bad(absl::StrCat("answer_tokens ", *d.answer_tokens, " is not in [0, ", kNewTokensMax, "]"));
  }
  return CheckSampling(d.sampling);
}

absl::StatusOr<BenchmarkDefinition> Define(const Layers& layers) {
  const BenchmarkSettings& spec = layers.spec;
  BenchmarkDefinition d;
  d.name = spec.name;
  d.prompt = spec.prompt.value_or("");
  d.max_new_tokens = spec.max_new_tokens.value_or(0);
  d.stop = spec.stop.value_or(std::vector<std::string>());
  d.extract = spec.extract.value_or("");
  d.language = spec.language.value_or("");
  d.limit = spec.limit;
  d.question_field = spec.question_field.value_or("question");
  d.answer_field = spec.answer_field.value_or("answer");
  if (spec.output) {
    MG_ASSIGN_OR_RETURN(d.output, ParseOutput(*spec.output));
  }
  d.description = spec.description.value_or("");
  d.target = spec.target.value_or("");
  d.choices = spec.choices.value_or(std::vector<std::string>());
  d.continuation = spec.continuation;
  d.target_delimiter = spec.target_delimiter.value_or(" ");
  d.few_shot.count = spec.few_shot.count.value_or(static_cast<int>(spec.few_shot.samples.size()));
  d.few_shot.seed = spec.few_shot.seed;
  d.few_shot.python = spec.few_shot.python.value_or(false);
  d.few_shot.delimiter = spec.few_shot.delimiter.value_or("\n\n");
  d.few_shot.samples = spec.few_shot.samples;
  d.gen_prefix = spec.gen_prefix.value_or("");
  d.bare_target = spec.bare_target.value_or(false);
  d.columns = spec.columns.value_or(std::vector<std::string>());
  d.average_of = spec.average_of.value_or(std::vector<std::string>());
  d.members = spec.members;
  d.average_metrics = spec.average_metrics.value_or(std::vector<AverageMetric>());
  d.sampling = spec.sampling.value_or(BenchmarkSampling());
  d.answer_tokens = spec.answer_tokens;
  d.language_of_reference = spec.language_of_reference.value_or(false);
  d.bootstrap_median = spec.bootstrap_median.value_or(false);
  d.jp_lmeh = spec.jp_lmeh;
  d.code = spec.code;
  d.completions = spec.completions.value_or(1);
  d.skip = spec.skip.value_or(0);
  if (d.extract.empty()) {
    d.metrics = spec.metrics.value_or(std::vector<MetricSpec>());
    if (d.metrics.empty()) d.metrics = d.code ? std::vector<MetricSpec>{{"pass@1"}} : DefaultMetrics(d.output);
    d.filters = spec.filters.value_or(std::vector<FilterSpec>());
    if (d.filters.empty()) d.filters.emplace_back();
  }
  Locate(layers, &d);
  if (d.few_shot.data.empty() && d.few_shot.samples.empty() && spec.few_shot.from_data.value_or(false)) {
    d.few_shot.data = d.data;
  }
  d.few_shot.excludes_sample =
      spec.few_shot.excludes_sample.value_or(d.few_shot.samples.empty() && d.few_shot.data == d.data);
  return d;
}

}  // namespace

const std::vector<std::string>& BuiltinBenchmarkNames() {
  static const auto* const names = [] {
    auto* all = new std::vector<std::string>;
    for (const BuiltinBenchmark& builtin : BuiltinTable()) all->push_back(builtin.spec.name);
    return all;
  }();
  return *names;
}

absl::StatusOr<BenchmarkDefinition> ResolveBenchmark(const BenchmarkSettings& spec,
                                                     absl::Span<const BenchmarkSettings> siblings) {
  const std::string where = absl::StrCat("benchmark '", spec.name, "'");
  auto layers = Base(spec, siblings, 0);
  if (!layers.ok()) return Annotate(layers.status(), where);
  layers->spec = Overlaid(std::move(layers->spec), spec);
  auto definition = Define(*layers);
  if (!definition.ok()) return Annotate(definition.status(), where);
  MG_RETURN_IF_ERROR(Annotate(Check(layers->spec, *definition), where));
  return definition;
}

absl::StatusOr<BenchmarkDefinition> ResolveBenchmark(const BenchmarkSpec& spec, const std::vector<BenchmarkSpec>& siblings) {
  return ResolveBenchmark(SettingsOf(spec), SettingsOf(siblings));
}

absl::StatusOr<ResolvedBenchmark> ResolveWithParts(const BenchmarkSettings& spec,
                                                   absl::Span<const BenchmarkSettings> siblings) {
  ResolvedBenchmark resolved;
  MG_ASSIGN_OR_RETURN(resolved.definition, ResolveBenchmark(spec, siblings));
  const BenchmarkDefinition& whole = resolved.definition;
  if (whole.average_of.empty()) {
    resolved.parts.push_back(whole);
    return resolved;
  }
  const std::string where = absl::StrCat("benchmark '", spec.name, "': average_of");
  for (const std::string& member : whole.average_of) {
    BenchmarkSettings part;
    part.name = IsBenchmarkFile(member) ? std::filesystem::path(member).stem().string() : member;
    part.use = member;
    const BenchmarkSettings* sibling = nullptr;
    for (const BenchmarkSettings& other : siblings) {
      if (other.name == member && other.name != spec.name) sibling = &other;
    }
    if (sibling != nullptr) part = *sibling;
    for (const BenchmarkSettings& known : whole.members) {
      if (known.name == member) part = known;
    }
    if (part.use.empty()) LocateMember(whole.data, &part);
    // What the member says for itself wins.
    BenchmarkSettings given;
    given.data = whole.data;
    given.limit = whole.limit;
    part = Overlaid(std::move(given), part);
    auto definition = ResolveBenchmark(part, siblings);
    if (!definition.ok()) return Annotate(definition.status(), where);
    if (!definition->average_of.empty()) {
      return Annotate(Bad(absl::StrCat("'", member, "' is an average itself")), where);
    }
    for (const BenchmarkDefinition& known : resolved.parts) {
      if (known.name == part.name) return Annotate(Bad(absl::StrCat("two members are called '", part.name, "'")), where);
    }
    resolved.parts.push_back(*std::move(definition));
  }
  if (AverageKeys(whole, resolved.parts).empty()) {
    // The harness gives such a group no number, and scores its tasks all the same.
    MG_LOG(WARNING) << "benchmark '" << spec.name
                    << "': aggregate_metric_list: no member has any of these metrics with these "
                    << "filters; the average is that of the members' main metrics";
    resolved.definition.average_metrics.clear();
  }
  return resolved;
}

std::vector<std::string> MetricNames(const BenchmarkDefinition& definition) {
  std::vector<std::string> names;
  for (const MetricKey& key : MetricKeys(definition)) names.push_back(key.name);
  return names;
}

std::vector<std::string> MetricNames(const ResolvedBenchmark& resolved) {
  if (resolved.definition.average_of.empty()) return MetricNames(resolved.definition);
  const std::vector<AverageKey> keys = AverageKeys(resolved.definition, resolved.parts);
  std::vector<std::string> names;
  for (const AverageKey& key : keys) names.push_back(key.name);
  const std::vector<std::vector<std::string>> shown = ShownMetrics(keys);
  for (size_t i = 0; i < shown.size(); ++i) {
    for (const std::string& metric : shown[i]) names.push_back(absl::StrCat(resolved.parts[i].name, ".", metric));
  }
  return names;
}

}  // namespace merganser

#include "worker/benchmark/benchmark_file.h"

#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/lm_eval_group.h"
#include "worker/benchmark/lm_eval_task.h"
#include "worker/benchmark/yaml_map.h"

namespace merganser {
namespace {

std::optional<int> Int(YamlMap& map, const std::string& key) {
  const auto value = map.Integer(key);
  if (!value) return std::nullopt;
  if (*value < std::numeric_limits<int>::min() || *value > std::numeric_limits<int>::max()) {
    map.Fail(key, absl::StrCat(*value, " is out of range"));
    return std::nullopt;
  }
  return static_cast<int>(*value);
}

std::optional<uint64_t> Seed(YamlMap& map, const std::string& key) {
  const auto value = map.Integer(key);
  if (value && *value < 0) map.Fail(key, "is below 0");
  return value ? std::optional<uint64_t>(static_cast<uint64_t>(*value)) : std::nullopt;
}

void ReadFewShot(YamlMap& map, const std::string& file, FewShotSettings* few) {
  few->count = Int(map, "count");
  if (const auto data = map.Text("data")) few->data = PathIn(file, *data);
  few->seed = Seed(map, "seed");
  few->python = map.Bool("python");
  few->delimiter = map.Text("delimiter");
  few->samples = map.JsonTexts("samples");
}

FilterStep ReadStep(YamlMap& map) {
  FilterStep step;
  int kinds = 0;
  for (const char* kind :
       {"regex", "number", "map", "strip", "lowercase", "uppercase", "take_first", "take_first_k", "majority_vote"})
    map.Offer(kind);
  if (map.Has("regex")) {
    ++kinds;
    step.kind = FilterStep::Kind::kRegex;
    if (map.IsScalar("regex")) {
      step.pattern = map.Text("regex").value_or("");
    } else if (auto regex = map.Map("regex")) {
      step.pattern = regex->Text("pattern").value_or("");
      step.match = Int(*regex, "match").value_or(0);
      step.fallback = regex->Text("fallback").value_or(step.fallback);
      map.Merge(regex->Done());
    }
  }
  if (const auto number = map.Text("number")) {
    ++kinds;
    step.kind = FilterStep::Kind::kNumber;
    step.pattern = *number;
  }
  if (auto texts = map.Map("map")) {
    ++kinds;
    step.kind = FilterStep::Kind::kMap;
    for (const std::string& key : texts->Keys()) step.map[key] = texts->Text(key).value_or("");
    map.Merge(texts->Done());
  }
  if (const auto count = Int(map, "take_first_k")) {
    ++kinds;
    step.kind = FilterStep::Kind::kTakeFirstK;
    step.count = *count;
  }
  const std::pair<const char*, FilterStep::Kind> flags[] = {{"strip", FilterStep::Kind::kStrip},
                                                            {"lowercase", FilterStep::Kind::kLowercase},
                                                            {"uppercase", FilterStep::Kind::kUppercase},
                                                            {"take_first", FilterStep::Kind::kTakeFirst},
                                                            {"majority_vote", FilterStep::Kind::kMajorityVote}};
  for (const auto& [name, kind] : flags) {
    if (!map.Has(name)) continue;
    ++kinds;
    step.kind = kind;
    if (map.Bool(name) == false) map.Fail(name, "is false; leave the step out");
  }
  map.Merge(map.Done());
  if (map.status().ok() && kinds != 1) {
    map.Fail("",
             "a step is one of regex, number, map, strip, lowercase, uppercase, take_first, take_first_k, majority_vote");
  }
  return step;
}

void ReadScoring(YamlMap& map, BenchmarkSettings* settings) {
  if (map.Has("filters")) settings->filters.emplace();
  for (YamlMap& entry : map.Maps("filters")) {
    FilterSpec filter;
    filter.name = entry.Text("name").value_or("");
    for (YamlMap& step : entry.Maps("steps", "regex")) {
      filter.steps.push_back(ReadStep(step));
      map.Merge(step.status());
    }
    map.Merge(entry.Done());
    settings->filters->push_back(std::move(filter));
  }
  if (map.Has("metrics")) settings->metrics.emplace();
  for (YamlMap& entry : map.Maps("metrics", "name")) {
    MetricSpec metric;
    metric.name = entry.Text("name").value_or("");
    metric.ignore_case = entry.Bool("ignore_case").value_or(false);
    metric.ignore_punctuation = entry.Bool("ignore_punctuation").value_or(false);
    metric.ignore_numbers = entry.Bool("ignore_numbers").value_or(false);
    metric.regexes_to_ignore = entry.Texts("regexes_to_ignore").value_or(std::vector<std::string>());
    metric.unit = entry.Text("unit").value_or("");
    map.Merge(entry.Done());
    settings->metrics->push_back(std::move(metric));
  }
}

void ReadSampling(YamlMap& map, BenchmarkSampling* sampling) {
  sampling->temperature = map.Number("temperature").value_or(sampling->temperature);
  sampling->top_p = map.Number("top_p").value_or(sampling->top_p);
  sampling->top_k = Int(map, "top_k").value_or(sampling->top_k);
  sampling->seed = Seed(map, "seed").value_or(sampling->seed);
  sampling->repetition_penalty = map.Number("repetition_penalty").value_or(sampling->repetition_penalty);
  sampling->beams = Int(map, "beams").value_or(sampling->beams);
}

void ReadJpLmeh(YamlMap& map, JpLmehSettings* settings) {
  settings->stratified = map.Bool("stratified").value_or(false);
  const std::string too_long = map.Text("too_long").value_or("cut");
  settings->article_begin = map.Text("article_begin").value_or("");
  settings->article_end = map.Text("article_end").value_or("");
  using TooLong = JpLmehSettings::TooLong;
  if (too_long == "fewer_examples") {
    settings->too_long = TooLong::kFewerExamples;
  } else if (too_long == "shorter_articles") {
    settings->too_long = TooLong::kShorterArticles;
    if (settings->article_begin.empty())
      map.Fail("article_begin", "is missing: what stands before an article in the prompt");
    if (settings->article_end.empty()) map.Fail("article_end", "is missing: what stands behind an article in the prompt");
  } else if (too_long != "cut") {
    map.Fail("too_long", absl::StrCat("'", too_long, "' is not cut, fewer_examples or shorter_articles"));
  }
}

void ReadCode(YamlMap& map, CodeSettings* code) {
  code->program = map.Text("program").value_or("");
  code->timeout = map.Number("timeout").value_or(code->timeout);
  code->memory_mib = map.Integer("memory").value_or(code->memory_mib);
  map.Merge(map.Done());  // a misspelt `program` is told as such
  if (code->program.empty()) map.Fail("program", "is missing: the program that is run, with {{completion}} in it");
}

absl::StatusOr<BenchmarkSettings> ReadOurs(YamlMap& map) {
  MG_RETURN_IF_ERROR(map.repeated());
  BenchmarkSettings settings;
  settings.use = map.Text("use").value_or("");
  if (IsBenchmarkFile(settings.use)) settings.use = PathIn(map.file(), settings.use);
  if (const auto data = map.Text("data")) settings.data = PathIn(map.file(), *data);
  settings.data_source = map.Text("data_source");
  settings.prompt = map.Text("prompt");
  settings.max_new_tokens = Int(map, "max_new_tokens");
  settings.stop = map.Texts("stop");
  settings.extract = map.Text("extract");
  settings.language = map.Text("language");
  settings.language_of_reference = map.Bool("language_of_reference");
  settings.bootstrap_median = map.Bool("bootstrap_median");
  settings.limit = map.Integer("limit");
  settings.question_field = map.Text("question_field");
  settings.answer_field = map.Text("answer_field");
  settings.output = map.Text("output");
  settings.description = map.Text("description");
  settings.target = map.Text("target");
  settings.choices = map.Texts("choices");
  settings.continuation = map.Text("continuation");
  settings.target_delimiter = map.Text("target_delimiter");
  settings.gen_prefix = map.Text("gen_prefix");
  settings.columns = map.Texts("columns");
  settings.average_of = map.Texts("average_of");
  if (settings.average_of) {
    for (std::string& member : *settings.average_of) {
      if (IsBenchmarkFile(member)) member = PathIn(map.file(), member);
    }
  }
  settings.answer_tokens = Int(map, "answer_tokens");
  if (auto few = map.Map("few_shot")) {
    ReadFewShot(*few, map.file(), &settings.few_shot);
    map.Merge(few->Done());
  }
  ReadScoring(map, &settings);
  if (auto code = map.Map("code")) {
    ReadCode(*code, &settings.code.emplace());
    map.Merge(code->Done());
  }
  if (auto jp_lmeh = map.Map("jp_lmeh")) {
    ReadJpLmeh(*jp_lmeh, &settings.jp_lmeh.emplace());
    map.Merge(jp_lmeh->Done());
  }
  settings.completions = Int(map, "completions");
  settings.skip = map.Integer("skip");
  if (auto sampling = map.Map("sampling")) {
    ReadSampling(*sampling, &settings.sampling.emplace());
    map.Merge(sampling->Done());
  }
  MG_RETURN_IF_ERROR(map.Done());
  return settings;
}

absl::StatusOr<BenchmarkSettings> Read(YamlMap map) {
  if (IsLmEvalGroup(map)) return ReadLmEvalGroup(map);
  return IsLmEvalTask(map) ? ReadLmEvalTask(map) : ReadOurs(map);
}

}  // namespace

std::string PathIn(const std::string& file, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::absolute(fs::path(file), error).parent_path();
  return (fs::path(path).is_absolute() ? fs::path(path) : folder / path).lexically_normal().string();
}

absl::StatusOr<BenchmarkSettings> ParseBenchmark(absl::string_view text, const std::string& file) {
  MG_ASSIGN_OR_RETURN(YamlMap map, YamlMap::Parse(text, file));
  return Read(std::move(map));
}

absl::StatusOr<BenchmarkSettings> ReadBenchmarkFile(const std::string& path) {
  MG_ASSIGN_OR_RETURN(YamlMap map, YamlMap::ReadFile(path));
  return Read(std::move(map));
}

}  // namespace merganser

#include "worker/benchmark/setting_place.h"

#include <map>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "worker/benchmark/benchmark_file.h"
#include "worker/benchmark/yaml_map.h"

namespace merganser {
namespace {

constexpr int kStepsMax = 32;  // from file to file, and from sibling to sibling

struct FieldError {
  std::string field;  // "max_new_tokens", "sampling.top_p"
  std::string what;   // without what the field is of, and its name where it begins so
};

// What the harness' tasks call our fields.
std::string HarnessName(const std::string& field) {
  static const auto* const names =
      new std::map<std::string, std::string>{{"prompt", "doc_to_text"},     {"target", "doc_to_target"},
                                             {"choices", "doc_to_choice"},  {"metrics", "metric_list"},
                                             {"filters", "filter_list"},    {"output", "output_type"},
                                             {"few_shot", "num_fewshot"},   {"sampling", "generation_kwargs"},
                                             {"stop", "generation_kwargs"}, {"max_new_tokens", "generation_kwargs"}};
  const auto it = names->find(field);
  return it == names->end() ? field : it->second;
}

constexpr const char* kFields[] = {"data",    "columns",       "prompt",           "description",    "target",
                                   "choices", "continuation",  "target_delimiter", "few_shot",       "filters",
                                   "metrics", "answer_tokens", "language",         "code",           "completions",
                                   "skip",    "sampling",      "average_of",       "max_new_tokens", "stop",
                                   "extract", "limit",         "question_field",   "answer_field",   "output"};

}  // namespace

bool IsAbout(absl::string_view message, const std::string& name, absl::string_view field) {
  const std::string benchmark = absl::StrCat("benchmark '", name, "'");
  const bool plain = absl::ConsumePrefix(&message, absl::StrCat(benchmark, ": "));
  if (absl::StrContains(message, absl::StrCat(field, " of ", benchmark))) return true;
  return plain && absl::ConsumePrefix(&message, field) &&
         (message.empty() || absl::StrContains(" :.[", message.substr(0, 1)));
}

namespace {

// The field that the message begins with, or that it says it is of.
std::optional<FieldError> FieldOf(absl::string_view message, const std::string& name) {
  absl::string_view what = message;
  const bool plain = absl::ConsumePrefix(&what, absl::StrCat("benchmark '", name, "': "));
  for (const absl::string_view field : kFields) {
    if (plain && what == absl::StrCat("field '", field, "' is missing")) return FieldError{std::string(field), "is missing"};
    absl::string_view rest = what;
    if (!IsAbout(message, name, field)) continue;
    if (!plain) return FieldError{std::string(field), std::string(message)};
    if (!absl::ConsumePrefix(&rest, field)) continue;
    FieldError error{std::string(field), ""};
    if (absl::StartsWith(rest, ".")) {
      const size_t end = rest.find_first_of(" :", 1);
      absl::StrAppend(&error.field, rest.substr(0, end));
      rest = end == absl::string_view::npos ? "" : rest.substr(end);
    }
    if (!absl::ConsumePrefix(&rest, ": ")) absl::ConsumePrefix(&rest, " ");
    error.what = std::string(rest);
    return error;
  }
  return std::nullopt;
}

// Whether what a job says of a benchmark has the field, which then is not the file's.
bool Says(const BenchmarkSettings& s, const std::string& field) {
  return (field == "prompt" && s.prompt) || (field == "max_new_tokens" && s.max_new_tokens) || (field == "stop" && s.stop) ||
         (field == "extract" && s.extract) || (field == "language" && s.language) || (field == "limit" && s.limit) ||
         (field == "question_field" && s.question_field) || (field == "answer_field" && s.answer_field) ||
         (field == "data" && !s.data.empty());
}

// The error at `field` of the map, which may be nested; nullopt where the map has no such field.
std::optional<absl::Status> At(YamlMap& map, const std::string& field, const std::string& what) {
  const size_t dot = field.find('.');
  const std::string ours = field.substr(0, dot);
  const std::string key = map.Has(ours) ? ours : HarnessName(ours);
  if (!map.Has(key)) return std::nullopt;
  if (dot != std::string::npos && map.IsMap(key)) {
    std::optional<YamlMap> inner = map.Map(key);
    if (std::optional<absl::Status> at = At(*inner, field.substr(dot + 1), what)) return at;
  }
  map.Fail(key, what);
  return map.status();
}

}  // namespace

absl::Status AtBenchmarkFile(const absl::Status& status, const BenchmarkSettings& settings,
                             absl::Span<const BenchmarkSettings> siblings) {
  if (status.ok()) return status;
  const std::optional<FieldError> error = FieldOf(status.message(), settings.name);
  if (!error) return status;
  BenchmarkSettings at = settings;
  for (int step = 0; step < kStepsMax; ++step) {
    if (Says(at, error->field)) return status;
    const BenchmarkSettings* next = nullptr;
    for (const BenchmarkSettings& sibling : siblings) {
      if (sibling.name == at.use && sibling.name != at.name) next = &sibling;
    }
    if (next != nullptr) {
      at = *next;
      continue;
    }
    if (!IsBenchmarkFile(at.use)) return status;
    absl::StatusOr<YamlMap> map = YamlMap::ReadFile(at.use);
    if (!map.ok()) return status;
    if (const std::optional<absl::Status> found = At(*map, error->field, error->what)) {
      return absl::Status(status.code(), found->message());
    }
    if (error->what == "is missing" && !map->Has("use")) {
      map->Fail(error->field, error->what);
      return absl::Status(status.code(), map->status().message());
    }
    absl::StatusOr<BenchmarkSettings> file = ReadBenchmarkFile(at.use);
    if (!file.ok()) return status;
    // The file's own fields were looked for above.
    const std::string use = file->use;
    at = BenchmarkSettings();
    at.name = settings.name;
    at.use = use;
  }
  return status;
}

}  // namespace merganser

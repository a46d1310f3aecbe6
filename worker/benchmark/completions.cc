#include "worker/benchmark/completions.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/rows.h"
#include "worker/benchmark/text_lines.h"

namespace merganser {
namespace {

// The string field `name` of `fields`; "" if it is absent and not `required`.
absl::StatusOr<std::string> StringField(const nlohmann::ordered_json& fields, const char* name, bool required) {
  const auto field = fields.find(name);
  if (field == fields.end()) {
    if (!required) return std::string();
    return absl::InvalidArgumentError(absl::StrCat("field '", name, "' is missing"));
  }
  if (!field->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("field '", name, "' is of type ", field->type_name(), ", not a string"));
  }
  return field->get<std::string>();
}

// A text, a number, or a list of them of which any is right.
absl::StatusOr<std::vector<std::string>> References(const nlohmann::ordered_json& answer) {
  std::vector<std::string> references;
  for (const auto& item : answer.is_array() ? answer : nlohmann::ordered_json::array({answer})) {
    if (!item.is_string() && !item.is_number()) {
      return absl::InvalidArgumentError("field 'answer' is no text, number or list of them");
    }
    references.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  }
  if (references.empty()) return absl::InvalidArgumentError("field 'answer' is an empty list");
  return references;
}

absl::Status AddLine(nlohmann::ordered_json fields, int64_t line, bool numbers, Completions& completions) {
  MG_ASSIGN_OR_RETURN(std::string text, StringField(fields, "completion", true));
  Sample sample;
  sample.line = line;
  MG_ASSIGN_OR_RETURN(sample.question, StringField(fields, "question", false));
  const auto answer = fields.find("answer");
  if (answer == fields.end()) return absl::InvalidArgumentError("field 'answer' is missing");
  if (numbers) {
    MG_ASSIGN_OR_RETURN(AnswerNumber number, ParseAnswer("answer", *answer));
    sample.answer = std::move(number.text);
    sample.answer_value = number.value;
  } else {
    MG_ASSIGN_OR_RETURN(sample.references, References(*answer));
    sample.answer = sample.references.front();
  }
  sample.fields_json = fields.dump();
  completions.samples.push_back(std::move(sample));
  completions.texts.push_back(std::move(text));
  for (const char* used : {"completion", "question", "answer"}) fields.erase(used);
  completions.extra_fields.push_back(fields.dump());
  return absl::OkStatus();
}

constexpr char kTask[] = "task_id";

// The problems of a benchmark with `code`, by their `task_id`.
class Problems {
 public:
  static absl::StatusOr<Problems> Load(const BenchmarkDefinition& definition) {
    Problems problems(definition);
    if (definition.data.empty()) return problems;
    RowOptions options;
    options.columns = definition.columns;
    options.limit = definition.limit;
    options.skip = definition.skip;
    MG_ASSIGN_OR_RETURN(std::vector<Row> rows, LoadRows(definition.data, options));
    for (Row& row : rows) {
      const auto task = row.fields.find(kTask);
      if (task == row.fields.end()) continue;
      const std::string id = task->dump();
      problems.rows_.emplace(id, std::move(row));
    }
    return problems;
  }

  // What the completion of `fields`, a line of the completions, is to be run with.
  absl::StatusOr<Sample> Find(const nlohmann::ordered_json& fields, int64_t line) {
    const auto task = fields.find(kTask);
    if (task == fields.end() && !definition_.data.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("field '", kTask, "' is missing: which problem of ", definition_.data));
    }
    const std::string id = task == fields.end() ? absl::StrCat("line ", line) : task->dump();
    if (definition_.data.empty()) rows_.emplace(id, Row{line, fields});
    const auto row = rows_.find(id);
    if (row == rows_.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("field '", kTask, "': ", definition_.data, " has no ", id, " among the benchmark's samples"));
    }
    Sample sample;
    sample.line = row->second.line;
    const nlohmann::ordered_json& own = definition_.data.empty() ? fields : row->second.fields;
    sample.fields_json = own.dump();
    const auto question = own.find(definition_.question_field);
    if (question != own.end() && question->is_string()) sample.question = question->get<std::string>();
    return sample;
  }

 private:
  explicit Problems(const BenchmarkDefinition& definition) : definition_(definition) {}

  const BenchmarkDefinition& definition_;
  std::map<std::string, Row> rows_;
};

}  // namespace

absl::StatusOr<Completions> ReadCodeCompletions(const std::string& path, const BenchmarkDefinition& definition) {
  MG_ASSIGN_OR_RETURN(Problems problems, Problems::Load(definition));
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, ReadTextLines(path, -1));
  Completions completions;
  for (const TextLine& line : lines) {
    MG_ASSIGN_OR_RETURN(nlohmann::ordered_json fields, ParseJsonObject(path, line));
    const auto where = [&](const absl::Status& status) { return Annotate(status, LineName(path, line.number)); };
    absl::StatusOr<std::string> text = StringField(fields, "completion", true);
    if (!text.ok()) return where(text.status());
    absl::StatusOr<Sample> sample = problems.Find(fields, line.number);
    if (!sample.ok()) return where(sample.status());
    completions.samples.push_back(*std::move(sample));
    completions.texts.push_back(*std::move(text));
    for (const char* used : {"completion", "question", "answer"}) fields.erase(used);
    completions.extra_fields.push_back(fields.dump());
  }
  return completions;
}

absl::StatusOr<Completions> ReadCompletions(const std::string& path, std::optional<int64_t> limit, bool numbers) {
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, ReadTextLines(path, limit.value_or(-1)));
  Completions completions;
  for (const TextLine& line : lines) {
    MG_ASSIGN_OR_RETURN(nlohmann::ordered_json fields, ParseJsonObject(path, line));
    MG_RETURN_IF_ERROR(Annotate(AddLine(std::move(fields), line.number, numbers, completions), LineName(path, line.number)));
  }
  return completions;
}

}  // namespace merganser

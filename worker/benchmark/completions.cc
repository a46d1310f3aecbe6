#include "worker/benchmark/completions.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_lines.h"

namespace merganser {
namespace {

// The string field `name` of `fields`; "" if it is absent and not `required`.
absl::StatusOr<std::string> StringField(const nlohmann::ordered_json& fields, const char* name,
                                        bool required) {
  const auto field = fields.find(name);
  if (field == fields.end()) {
    if (!required) return std::string();
    return absl::InvalidArgumentError(absl::StrCat("field '", name, "' is missing"));
  }
  if (!field->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field '", name, "' is of type ", field->type_name(), ", not a string"));
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

}  // namespace

absl::StatusOr<Completions> ReadCompletions(const std::string& path, std::optional<int64_t> limit, bool numbers) {
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, ReadTextLines(path, limit.value_or(-1)));
  Completions completions;
  for (const TextLine& line : lines) {
    MG_ASSIGN_OR_RETURN(nlohmann::ordered_json fields, ParseJsonObject(path, line));
    MG_RETURN_IF_ERROR(Annotate(AddLine(std::move(fields), line.number, numbers, completions),
                                LineName(path, line.number)));
  }
  return completions;
}

}  // namespace merganser

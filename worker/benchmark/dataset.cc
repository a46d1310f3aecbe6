#include "worker/benchmark/dataset.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_lines.h"

namespace merganser {
namespace {

absl::StatusOr<nlohmann::ordered_json> ParseTabSeparated(const std::string& path,
                                                         const TextLine& line,
                                                         const DatasetOptions& options) {
  const std::vector<absl::string_view> columns = absl::StrSplit(line.text, '\t');
  if (columns.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        LineName(path, line.number), ": ", columns.size(),
        columns.size() == 1 ? " column" : " columns", ", not 2 (question, tab, answer)"));
  }
  nlohmann::ordered_json fields = nlohmann::ordered_json::object();
  fields[options.question_field] = std::string(columns[0]);
  fields[options.answer_field] = std::string(columns[1]);
  return fields;
}

absl::StatusOr<Sample> ReadSample(const std::string& path, const TextLine& line, bool tab_separated,
                                  const DatasetOptions& options) {
  MG_ASSIGN_OR_RETURN(
      const nlohmann::ordered_json fields,
      tab_separated ? ParseTabSeparated(path, line, options) : ParseJsonObject(path, line));
  const std::string where = LineName(path, line.number);
  const auto missing = [&](const std::string& field) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": field '", field, "' is missing"));
  };
  const auto question = fields.find(options.question_field);
  if (question == fields.end()) return missing(options.question_field);
  if (!question->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": field '", options.question_field,
                                                   "' is of type ", question->type_name(),
                                                   ", not a string"));
  }
  const auto answer = fields.find(options.answer_field);
  if (answer == fields.end()) return missing(options.answer_field);
  auto number = ParseAnswer(options.answer_field, *answer);
  if (!number.ok()) return Annotate(number.status(), where);
  Sample sample;
  sample.line = line.number;
  sample.question = question->get<std::string>();
  sample.answer = std::move(number->text);
  sample.answer_value = number->value;
  sample.fields_json = fields.dump();
  return sample;
}

}  // namespace

absl::StatusOr<std::vector<Sample>> LoadDataset(const std::string& path,
                                                const DatasetOptions& options) {
  const bool tab_separated = absl::EndsWithIgnoreCase(path, ".tsv");
  if (!tab_separated && !absl::EndsWithIgnoreCase(path, ".jsonl")) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the file's ending is not .jsonl or .tsv"));
  }
  if (options.limit && *options.limit < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": limit ", *options.limit, " is below 1"));
  }
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines,
                      ReadTextLines(path, options.limit.value_or(-1)));
  std::vector<Sample> samples;
  samples.reserve(lines.size());
  for (const TextLine& line : lines) {
    MG_ASSIGN_OR_RETURN(Sample sample, ReadSample(path, line, tab_separated, options));
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace merganser

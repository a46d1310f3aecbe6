#include "worker/benchmark/dataset.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/rows.h"
#include "worker/benchmark/text_lines.h"

namespace merganser {
namespace {

absl::StatusOr<Sample> SampleOf(const std::string& path, const Row& row, const DatasetOptions& options) {
  const nlohmann::ordered_json& fields = row.fields;
  const std::string where = LineName(path, row.line);
  const auto missing = [&](const std::string& field) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": field '", field, "' is missing"));
  };
  const auto question = fields.find(options.question_field);
  if (question == fields.end()) return missing(options.question_field);
  if (!question->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": field '", options.question_field, "' is of type ", question->type_name(), ", not a string"));
  }
  const auto answer = fields.find(options.answer_field);
  if (answer == fields.end()) return missing(options.answer_field);
  auto number = ParseAnswer(options.answer_field, *answer);
  if (!number.ok()) return Annotate(number.status(), where);
  Sample sample;
  sample.line = row.line;
  sample.question = question->get<std::string>();
  sample.answer = std::move(number->text);
  sample.answer_value = number->value;
  sample.fields_json = fields.dump();
  return sample;
}

}  // namespace

absl::StatusOr<std::vector<Sample>> LoadDataset(const std::string& path, const DatasetOptions& options) {
  RowOptions rows_as;
  rows_as.columns = options.columns;
  rows_as.tsv_columns = {options.question_field, options.answer_field};
  rows_as.limit = options.limit;
  MG_ASSIGN_OR_RETURN(const std::vector<Row> rows, LoadRows(path, rows_as));
  std::vector<Sample> samples;
  samples.reserve(rows.size());
  for (const Row& row : rows) {
    MG_ASSIGN_OR_RETURN(Sample sample, SampleOf(path, row, options));
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace merganser

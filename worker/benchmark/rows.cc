#include "worker/benchmark/rows.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/text_lines.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Bad(const std::string& path, int64_t line, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(LineName(path, line), ": ", what));
}

absl::StatusOr<Json> Named(const std::string& path, int64_t line, const std::vector<std::string>& names,
                           const std::vector<std::string>& values) {
  if (names.size() != values.size()) {
    return Bad(path, line,
               absl::StrCat(values.size(), values.size() == 1 ? " column" : " columns", ", not ", names.size(), " (",
                            absl::StrJoin(names, ", "), ")"));
  }
  Json fields = Json::object();
  for (size_t i = 0; i < names.size(); ++i) fields[names[i]] = values[i];
  return fields;
}

// One record of RFC 4180 at `rest`, which is moved behind it; `line` counts the line ends that it holds.
absl::StatusOr<std::vector<std::string>> ReadCsvRecord(const std::string& path, absl::string_view* rest, int64_t* line) {
  const int64_t begin = *line;
  std::vector<std::string> values(1);
  bool quoted = false;
  while (!rest->empty()) {
    const char c = rest->front();
    rest->remove_prefix(1);
    if (c == '\n') ++*line;
    if (quoted) {
      if (c != '"') {
        values.back().push_back(c);
      } else if (absl::ConsumePrefix(rest, "\"")) {
        values.back().push_back('"');
      } else {
        quoted = false;
      }
    } else if (c == '"' && values.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      values.emplace_back();
    } else if (c == '\n') {
      return values;
    } else if (c != '\r' || !absl::StartsWith(*rest, "\n")) {
      values.back().push_back(c);
    }
  }
  if (quoted) return Bad(path, begin, "a quote is not closed");
  ++*line;
  return values;
}

absl::StatusOr<std::vector<Row>> LoadCsv(const std::string& path, const RowOptions& options) {
  const TextLineLimits limits;
  MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, limits.file_bytes_max));
  if (const auto bad = FirstInvalidUtf8(bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": invalid UTF-8 at byte ", *bad));
  }
  absl::string_view rest = bytes;
  absl::ConsumePrefix(&rest, "\xEF\xBB\xBF");
  std::vector<std::string> names = options.columns;
  std::vector<Row> rows;
  int64_t line = 1;
  while (!rest.empty() && !(options.limit && static_cast<int64_t>(rows.size()) == *options.limit)) {
    const int64_t begin = line;
    MG_ASSIGN_OR_RETURN(std::vector<std::string> values, ReadCsvRecord(path, &rest, &line));
    if (values.size() == 1 && values[0].empty()) continue;  // a blank line
    if (names.empty()) {
      names = std::move(values);
      continue;
    }
    if (static_cast<int64_t>(rows.size()) == limits.lines_max) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": more than ", limits.lines_max, " samples"));
    }
    MG_ASSIGN_OR_RETURN(Json fields, Named(path, begin, names, values));
    rows.push_back({begin, std::move(fields)});
  }
  return rows;
}

absl::StatusOr<std::vector<Row>> LoadLines(const std::string& path, const RowOptions& options, bool tab_separated) {
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, ReadTextLines(path, options.limit.value_or(-1)));
  std::vector<Row> rows;
  rows.reserve(lines.size());
  const std::vector<std::string>& names = options.columns.empty() ? options.tsv_columns : options.columns;
  for (const TextLine& line : lines) {
    if (tab_separated) {
      MG_ASSIGN_OR_RETURN(Json fields, Named(path, line.number, names, absl::StrSplit(line.text, '\t')));
      rows.push_back({line.number, std::move(fields)});
    } else {
      MG_ASSIGN_OR_RETURN(Json fields, ParseJsonObject(path, line));
      rows.push_back({line.number, std::move(fields)});
    }
  }
  return rows;
}

// SQuAD 1.1: {"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text"}]}]}]}]}.
bool Flatten(const Json& document, std::vector<Row>* rows) {
  if (!document.is_object() || !document.contains("data") || !document["data"].is_array()) return false;
  for (const Json& article : document["data"]) {
    if (!article.is_object() || !article.contains("paragraphs") || !article["paragraphs"].is_array()) return false;
    for (const Json& paragraph : article["paragraphs"]) {
      if (!paragraph.is_object() || !paragraph.contains("qas") || !paragraph["qas"].is_array()) return false;
      for (const Json& qa : paragraph["qas"]) {
        if (!qa.is_object() || !qa.contains("answers") || !qa["answers"].is_array()) return false;
        Json texts = Json::array();
        for (const Json& answer : qa["answers"]) {
          if (!answer.is_object() || !answer.contains("text")) return false;
          texts.push_back(answer["text"]);
        }
        Json fields = {{"id", qa.value("id", Json())},
                       {"title", article.value("title", Json(""))},
                       {"context", paragraph.value("context", Json(""))},
                       {"question", qa.value("question", Json(""))},
                       {"answers", {{"text", std::move(texts)}}}};
        rows->push_back({static_cast<int64_t>(rows->size()) + 1, std::move(fields)});
      }
    }
  }
  return true;
}

absl::StatusOr<std::vector<Row>> LoadJson(const std::string& path, const RowOptions& options) {
  // A document of several lines is no list of JSON lines, and a JSON line is a whole document.
  auto lines = ReadTextLines(path, 1);
  if (!lines.ok()) return lines.status();
  if (lines->front().text.front() == '{' && Json::accept(lines->front().text)) {
    std::vector<Row> rows;
    if (!Flatten(Json::parse(lines->front().text), &rows)) return LoadLines(path, options, /*tab_separated=*/false);
    if (options.limit && static_cast<int64_t>(rows.size()) > *options.limit) rows.resize(*options.limit);
    return rows;
  }
  MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, TextLineLimits().file_bytes_max));
  const Json document = Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(path, ": neither JSON lines nor a JSON document"));
  std::vector<Row> rows;
  if (document.is_array()) {
    for (const Json& item : document) {
      const auto place = static_cast<int64_t>(rows.size()) + 1;
      if (!item.is_object()) return Bad(path, place, absl::StrCat("a JSON ", item.type_name(), ", not an object"));
      rows.push_back({place, item});
    }
  } else if (!Flatten(document, &rows)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": neither an array of objects nor SQuAD's {\"data\": [...]}"));
  }
  if (options.limit && static_cast<int64_t>(rows.size()) > *options.limit) rows.resize(*options.limit);
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Row>> LoadRows(const std::string& path, const RowOptions& given) {
  if (given.limit && *given.limit < 1) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": limit ", *given.limit, " is below 1"));
  }
  RowOptions options = given;
  if (options.limit) options.limit = *options.limit + options.skip;
  std::vector<Row> rows;
  if (absl::EndsWithIgnoreCase(path, ".jsonl")) {
    MG_ASSIGN_OR_RETURN(rows, LoadLines(path, options, /*tab_separated=*/false));
  } else if (absl::EndsWithIgnoreCase(path, ".tsv")) {
    MG_ASSIGN_OR_RETURN(rows, LoadLines(path, options, /*tab_separated=*/true));
  } else if (absl::EndsWithIgnoreCase(path, ".csv")) {
    MG_ASSIGN_OR_RETURN(rows, LoadCsv(path, options));
  } else if (absl::EndsWithIgnoreCase(path, ".json")) {
    MG_ASSIGN_OR_RETURN(rows, LoadJson(path, options));
  } else {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the file's ending is not .jsonl, .json, .csv or .tsv"));
  }
  if (rows.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": the file has no samples"));
  if (options.skip >= static_cast<int64_t>(rows.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": skip ", options.skip, " leaves none of its ", rows.size(), " samples"));
  }
  rows.erase(rows.begin(), rows.begin() + options.skip);
  return rows;
}

}  // namespace merganser

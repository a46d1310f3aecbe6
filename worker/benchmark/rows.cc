#include "worker/benchmark/rows.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
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

// What the values of a record are called.
class Columns {
 public:
  // RowOptions::columns.
  explicit Columns(const std::vector<std::string>& columns) {
    for (const std::string& column : columns) {
      spellings_.push_back(absl::StrSplit(column, '|'));
      names_.push_back(spellings_.back().front());
    }
  }

  // Of the file's first record: whether it is a header line, which names the others' values from now on.
  bool TakesAsHeader(const std::vector<std::string>& values) {
    std::vector<std::string> names = values;
    for (const auto& spellings : spellings_) {
      const auto it = std::find_if(values.begin(), values.end(), [&](const std::string& value) {
        return std::any_of(spellings.begin(), spellings.end(), [&](const std::string& spelling) {
          return absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(value), spelling);
        });
      });
      if (it == values.end()) return false;
      names[it - values.begin()] = spellings.front();
    }
    names_ = std::move(names);
    return true;
  }

  absl::StatusOr<Json> Named(const std::string& path, int64_t line, const std::vector<std::string>& values) const {
    if (names_.size() != values.size()) {
      return Bad(path, line,
                 absl::StrCat(values.size(), values.size() == 1 ? " column" : " columns", ", not ", names_.size(), " (",
                              absl::StrJoin(names_, ", "), ")"));
    }
    Json fields = Json::object();
    for (size_t i = 0; i < names_.size(); ++i) fields[names_[i]] = values[i];
    return fields;
  }

 private:
  std::vector<std::vector<std::string>> spellings_;  // of each column, the field's name first
  std::vector<std::string> names_;
};

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
  Columns columns(options.columns);  // of none every first record is the header
  std::vector<Row> rows;
  bool first = true;
  int64_t line = 1;
  while (!rest.empty() && !(options.limit && static_cast<int64_t>(rows.size()) == *options.limit)) {
    const int64_t begin = line;
    MG_ASSIGN_OR_RETURN(std::vector<std::string> values, ReadCsvRecord(path, &rest, &line));
    if (values.size() == 1 && values[0].empty()) continue;  // a blank line
    if (std::exchange(first, false) && columns.TakesAsHeader(values)) continue;
    if (static_cast<int64_t>(rows.size()) == limits.lines_max) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": more than ", limits.lines_max, " samples"));
    }
    MG_ASSIGN_OR_RETURN(Json fields, columns.Named(path, begin, values));
    rows.push_back({begin, std::move(fields)});
  }
  return rows;
}

absl::StatusOr<std::vector<Row>> LoadJsonLines(const std::string& path, const RowOptions& options) {
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, ReadTextLines(path, options.limit.value_or(-1)));
  std::vector<Row> rows;
  rows.reserve(lines.size());
  for (const TextLine& line : lines) {
    MG_ASSIGN_OR_RETURN(Json fields, ParseJsonObject(path, line));
    rows.push_back({line.number, std::move(fields)});
  }
  return rows;
}

absl::StatusOr<std::vector<Row>> LoadTsv(const std::string& path, const RowOptions& options) {
  const int64_t first = options.limit ? *options.limit + 1 : -1;  // the header line may be among them
  MG_ASSIGN_OR_RETURN(const std::vector<TextLine> lines, ReadTextLines(path, first));
  Columns columns(options.columns.empty() ? options.tsv_columns : options.columns);
  std::vector<Row> rows;
  rows.reserve(lines.size());
  for (const TextLine& line : lines) {
    const std::vector<std::string> values = absl::StrSplit(line.text, '\t');
    if (&line == &lines.front() && columns.TakesAsHeader(values)) continue;
    if (options.limit && static_cast<int64_t>(rows.size()) == *options.limit) break;
    MG_ASSIGN_OR_RETURN(Json fields, columns.Named(path, line.number, values));
    rows.push_back({line.number, std::move(fields)});
  }
  return rows;
}

// What to do about a file that is none of ours.
std::string HowToConvert(const std::string& path) {
  const std::string stem = path.substr(0, path.rfind('.'));
  if (absl::EndsWithIgnoreCase(path, ".parquet")) {
    return absl::StrCat("; convert it once: python3 -c \"import pandas; pandas.read_parquet('", path, "').to_json('", stem,
                        ".jsonl', orient='records', lines=True, force_ascii=False)\"");
  }
  if (absl::EndsWithIgnoreCase(path, ".gz")) return absl::StrCat("; unpack it once: gunzip -k '", path, "'");
  return "";
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
    if (!Flatten(Json::parse(lines->front().text), &rows)) return LoadJsonLines(path, options);
    if (options.limit && static_cast<int64_t>(rows.size()) > *options.limit) rows.resize(*options.limit);
    return rows;
  }
  MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, TextLineLimits().file_bytes_max));
  const Json document = Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded())
    return absl::InvalidArgumentError(absl::StrCat(path, ": neither JSON lines nor a JSON document"));
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
    MG_ASSIGN_OR_RETURN(rows, LoadJsonLines(path, options));
  } else if (absl::EndsWithIgnoreCase(path, ".tsv")) {
    MG_ASSIGN_OR_RETURN(rows, LoadTsv(path, options));
  } else if (absl::EndsWithIgnoreCase(path, ".csv")) {
    MG_ASSIGN_OR_RETURN(rows, LoadCsv(path, options));
  } else if (absl::EndsWithIgnoreCase(path, ".json")) {
    MG_ASSIGN_OR_RETURN(rows, LoadJson(path, options));
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the file's ending is not .jsonl, .json, .csv or .tsv", HowToConvert(path)));
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

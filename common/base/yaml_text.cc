#include "common/base/yaml_text.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"
#include "yaml-cpp/yaml.h"

namespace merganser {
namespace {

constexpr absl::string_view kBlanks = " \t\r\n";
constexpr size_t kEnd = absl::string_view::npos;

// Behind the quote that closes the one at text[open]; kEnd: there is none.
size_t BehindQuoted(absl::string_view text, size_t open) {
  const char quote = text[open];
  for (size_t i = open + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (quote == '"' || i + 1 >= text.size() || text[i + 1] != quote) return i + 1;
      ++i;  // '' is one of the text
    }
  }
  return kEnd;
}

// Hears of every scalar of the text, in order.
class Scalars : public YAML::EventHandler {
 public:
  explicit Scalars(absl::string_view text) : text_(text) {}

  // Place of the quoted scalar last heard of, if one was, and behind the scalar last heard of.
  std::optional<size_t> quoted;
  size_t behind = 0;
  // Place and line (from 1) of the document last heard of, and whether it holds anything.
  int place = -1;
  int document = 0;
  bool filled = false;

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    filled = true;
    size_t at = std::min(static_cast<size_t>(std::max(mark.pos, 0)), text_.size());
    // An anchor or a tag stands in front.
    while (at < text_.size() && (text_[at] == '&' || text_[at] == '!')) {
      at = std::min(text_.find_first_of(kBlanks, at), text_.size());
      at = std::min(text_.find_first_not_of(kBlanks, at), text_.size());
    }
    const bool is_quoted = at < text_.size() && (text_[at] == '"' || text_[at] == '\'') && tag != "?";
    if (is_quoted) quoted = at;
    behind = std::min(is_quoted ? BehindQuoted(text_, at) : at + value.size(), text_.size());
  }
  void OnDocumentStart(const YAML::Mark& mark) override {
    place = mark.pos;
    document = mark.line + 1;
    filled = false;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    filled = true;
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    filled = true;
  }
  void OnMapEnd() override {}

 private:
  absl::string_view text_;
};

// The first quote from `from` on that a scalar may begin with.
size_t FindOpening(absl::string_view text, size_t from) {
  char before = '\n';
  for (size_t i = from; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '#' && (i == 0 || absl::StrContains(kBlanks, text[i - 1]))) {
      i = std::min(text.find('\n', i), text.size() - 1);
      before = '\n';
    } else if ((c == '"' || c == '\'') && absl::StrContains(":[{,-?\n", before)) {
      return i;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      before = c;
    }
  }
  return kEnd;
}

int LineOf(absl::string_view text, size_t at) {
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

}  // namespace

const char* KindOf(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      return "a map";
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Scalar:
      return "a value";
    default:
      return "nothing";
  }
}

absl::Status CheckYamlText(absl::string_view text, absl::string_view file) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");  // marks do not count it
  const auto never_closed = [&](size_t open) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ":", LineOf(text, open), ": the quote ", text.substr(open, 1), " is never closed"));
  };
  Scalars scalars(text);
  bool is_yaml = true;
  int second = 0;  // line of a document behind the first one
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(scalars);
    // The parser does not get beyond a comma that nothing is in front of: it gives documents of nothing without end.
    for (int before = scalars.place; second == 0 && parser.HandleNextDocument(scalars) && scalars.place > before;) {
      second = scalars.filled ? scalars.document : 0;
      before = scalars.place;
    }
  } catch (const YAML::Exception&) {
    is_yaml = false;
  }
  if (scalars.quoted) {
    const size_t behind = BehindQuoted(text, *scalars.quoted);
    if (behind == kEnd) return never_closed(*scalars.quoted);
    const size_t next = text.find_first_not_of(" \t", behind);
    const int begin = LineOf(text, *scalars.quoted), end = LineOf(text, behind);
    if (!is_yaml && begin < end && next != kEnd && !absl::StrContains(":,]}#\r\n", text[next])) {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ":", begin, ": the quote ", text.substr(*scalars.quoted, 1), " is closed only in line ", end,
          ", in front of '", text.substr(next, std::min<size_t>(text.find_first_of("\r\n", next) - next, 20)), "'"));
    }
  }
  if (second > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ":", second, ": a second document begins here (---); a file is read as one: write two files"));
  }
  if (is_yaml) return absl::OkStatus();
  const size_t open = FindOpening(text, scalars.behind);
  if (open != kEnd && BehindQuoted(text, open) == kEnd) return never_closed(open);
  return absl::OkStatus();
}

}  // namespace merganser

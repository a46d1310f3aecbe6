#include "worker/benchmark/text_lines.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

// The library writes nested values by recursion, so the depth that a file can ask for is bounded.
constexpr int kNestingMax = 100;

// Position of the bracket that opens level kNestingMax + 1, npos if none does. Brackets inside
// strings do not count; in broken JSON the answer is only an upper bound of what the parser would
// reach.
size_t TooDeepAt(absl::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kNestingMax) return i;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return absl::string_view::npos;
}

// What the library says after "[json.exception...] parse error at line 1, column 5: ".
std::string Reason(absl::string_view what) {
  const size_t at = what.find("] ");
  if (at != absl::string_view::npos) what.remove_prefix(at + 2);
  if (absl::StartsWith(what, "parse error at ")) {
    const size_t colon = what.find(": ");
    if (colon != absl::string_view::npos) what.remove_prefix(colon + 2);
  }
  return Shortened(what, 160);
}

}  // namespace

std::string LineName(absl::string_view path, int64_t line) { return absl::StrCat(path, ":", line); }

absl::StatusOr<std::vector<TextLine>> ReadTextLines(const std::string& path, int64_t first, const TextLineLimits& limits) {
  MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, limits.file_bytes_max));
  absl::string_view rest = bytes;
  absl::ConsumePrefix(&rest, "\xEF\xBB\xBF");
  std::vector<TextLine> lines;
  for (int64_t number = 1; !rest.empty(); ++number) {
    if (first >= 0 && static_cast<int64_t>(lines.size()) == first) break;
    const size_t end = rest.find('\n');
    absl::string_view text = rest.substr(0, end);
    rest.remove_prefix(end == absl::string_view::npos ? rest.size() : end + 1);
    absl::ConsumeSuffix(&text, "\r");
    if (absl::StripAsciiWhitespace(text).empty()) continue;
    if (static_cast<int64_t>(text.size()) > limits.line_bytes_max) {
      return absl::InvalidArgumentError(
          absl::StrCat(LineName(path, number), ": the line has ", text.size(), " bytes, more than ", limits.line_bytes_max));
    }
    if (const auto bad = FirstInvalidUtf8(text)) {
      return absl::InvalidArgumentError(absl::StrCat(LineName(path, number), ":", *bad + 1, ": invalid UTF-8 (byte 0x",
                                                     absl::Hex(static_cast<unsigned char>(text[*bad]), absl::kZeroPad2),
                                                     ")"));
    }
    if (static_cast<int64_t>(lines.size()) == limits.lines_max) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": more than ", limits.lines_max, " samples; set 'limit' or split the file"));
    }
    lines.push_back({number, std::string(text)});
  }
  if (lines.empty() && first != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the file has no samples"));
  }
  return lines;
}

absl::StatusOr<nlohmann::ordered_json> ParseJsonObject(absl::string_view path, const TextLine& line) {
  const auto error = [&](size_t column, absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(LineName(path, line.number), ":", column, ": ", what));
  };
  if (const size_t at = TooDeepAt(line.text); at != absl::string_view::npos) {
    return error(at + 1, absl::StrCat("JSON nested more than ", kNestingMax, " levels deep"));
  }
  try {
    auto object = nlohmann::ordered_json::parse(line.text);
    if (!object.is_object()) {
      return error(1, absl::StrCat("a JSON ", object.type_name(), ", not an object"));
    }
    return object;
  } catch (const nlohmann::ordered_json::parse_error& e) {
    return error(e.byte, absl::StrCat("broken JSON: ", Reason(e.what())));
  } catch (const nlohmann::ordered_json::exception& e) {
    return error(1, absl::StrCat("broken JSON: ", Reason(e.what())));
  }
}

}  // namespace merganser

#include "client/json_output.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/print_message.h"

namespace merganser {
namespace {

// Of YAML 1.1 as well, in lower case.
bool IsWord(const std::string& lower) {
  static const std::vector<std::string> kWords = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  return std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
}

std::string Text(const std::string& text) {
  const bool plain =
      !text.empty() && (absl::ascii_isalpha(text[0]) || text[0] == '/' || text[0] == '_') &&
      std::all_of(text.begin(), text.end(),
                  [](char c) { return absl::ascii_isalnum(c) || std::string("._/-@+").find(c) != std::string::npos; }) &&
      !IsWord(absl::AsciiStrToLower(text));
  if (plain) return text;
  // JSON's escapes are YAML's.
  return Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

bool IsPlain(const Json& json) { return !json.is_structured(); }

std::string Plain(const Json& json) { return json.is_string() ? Text(json.get<std::string>()) : json.dump(); }

// What stands behind "key:" or "-", beginning with a space or a line feed; `indent` is that of lines below.
void Append(const Json& json, int indent, bool in_list, std::string* out) {
  const std::string margin(indent, ' ');
  if (IsPlain(json)) {
    absl::StrAppend(out, " ", Plain(json), "\n");
  } else if (json.empty()) {
    absl::StrAppend(out, json.is_object() ? " {}\n" : " []\n");
  } else if (json.is_array() && std::all_of(json.begin(), json.end(), IsPlain)) {
    absl::StrAppend(
        out, " [", absl::StrJoin(json, ", ", [](std::string* text, const Json& item) { text->append(Plain(item)); }), "]\n");
  } else {
    // Behind "- " the first key or item stands on the same line.
    bool first = in_list;
    if (!first) absl::StrAppend(out, "\n");
    for (const auto& [key, value] : json.items()) {
      absl::StrAppend(out, first ? " " : margin, json.is_object() ? absl::StrCat(Text(key), ":") : "-");
      first = false;
      Append(value, indent + 2, json.is_array(), out);
    }
  }
}

}  // namespace

std::string DumpYaml(const Json& json) {
  std::string text;
  Append(json, 0, /*in_list=*/false, &text);
  return text.substr(1);
}

bool PrintJson(const std::string& format, const Json& json) {
  if (format == "table") return false;
  Print(format == "yaml" ? DumpYaml(json) : DumpJson(json));
  return true;
}

}  // namespace merganser

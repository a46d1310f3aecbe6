#include "worker/benchmark/sample.h"

#include <cmath>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

// "-12,345.6" without sign rules beyond one leading '-' or '+'; the commas dropped.
std::optional<std::string> PlainNumber(absl::string_view text) {
  std::string plain;
  if (absl::ConsumePrefix(&text, "-")) {
    plain = "-";
  } else {
    absl::ConsumePrefix(&text, "+");
  }
  const absl::string_view whole = text.substr(0, text.find('.'));
  size_t group = 0;
  bool commas = false;
  for (const char c : whole) {
    if (c == ',') {
      if (group == 0 || group > 3 || (commas && group != 3)) return std::nullopt;
      commas = true;
      group = 0;
    } else if (absl::ascii_isdigit(c)) {
      plain += c;
      ++group;
    } else {
      return std::nullopt;
    }
  }
  if (group == 0 || (commas && group != 3)) return std::nullopt;
  if (whole.size() < text.size()) {
    const absl::string_view fraction = text.substr(whole.size() + 1);
    if (fraction.empty()) return std::nullopt;
    for (const char c : fraction) {
      if (!absl::ascii_isdigit(c)) return std::nullopt;
    }
    absl::StrAppend(&plain, ".", fraction);
  }
  return plain;
}

}  // namespace

std::string NumberText(double value) {
  // Every integer up to 2^53 has its own double; above, the library's shortest form is as good.
  if (value == std::floor(value) && std::fabs(value) <= 9007199254740992.0) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return nlohmann::json(value).dump();
}

absl::StatusOr<AnswerNumber> ParseAnswer(absl::string_view field, const nlohmann::ordered_json& value) {
  if (value.is_number()) return AnswerNumber{value.dump(), value.get<double>()};
  if (!value.is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field '", field, "' is ", value.is_null() ? "" : "of type ", value.type_name(), ", not a number"));
  }
  const auto& whole = value.get_ref<const std::string&>();
  absl::string_view text = whole;
  if (const size_t mark = text.rfind("####"); mark != absl::string_view::npos) text.remove_prefix(mark + 4);
  AnswerNumber answer;
  const auto plain = PlainNumber(absl::StripAsciiWhitespace(text));
  if (!plain || !absl::SimpleAtod(*plain, &answer.value) || !std::isfinite(answer.value)) {
    return absl::InvalidArgumentError(absl::StrCat("field '", field, "' is '", Shortened(whole), "', not a number"));
  }
  answer.text = NumberText(answer.value);
  return answer;
}

}  // namespace merganser

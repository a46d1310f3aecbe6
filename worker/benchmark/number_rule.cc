#include "worker/benchmark/number_rule.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "common/base/closest_name.h"
#include "common/base/log.h"
#include "worker/benchmark/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace merganser {
namespace {

// Both patterns need a handful of steps a match, so these are never reached; they bound a mistake.
constexpr uint32_t kMatchLimit = 100'000;
constexpr uint32_t kDepthLimit = 1'000;
constexpr uint32_t kHeapLimitKib = 1'024;

// The zeros of Unicode 15's decimal digits (category Nd); each is followed by its 1 to 9.
constexpr uint32_t kZeros[] = {
    0x0030,  0x0660,  0x06F0,  0x07C0,  0x0966,  0x09E6,  0x0A66,  0x0AE6,  0x0B66,  0x0BE6,  0x0C66,  0x0CE6,
    0x0D66,  0x0DE6,  0x0E50,  0x0ED0,  0x0F20,  0x1040,  0x1090,  0x17E0,  0x1810,  0x1946,  0x19D0,  0x1A80,
    0x1A90,  0x1B50,  0x1BB0,  0x1C40,  0x1C50,  0xA620,  0xA8D0,  0xA900,  0xA9D0,  0xA9F0,  0xAA50,  0xABF0,
    0xFF10,  0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0,
    0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8,
    0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E950, 0x1FBF0,
};

std::optional<char> AsciiDigit(uint32_t code_point) {
  const uint32_t* above = std::upper_bound(std::begin(kZeros), std::end(kZeros), code_point);
  if (above == std::begin(kZeros) || code_point - above[-1] > 9) return std::nullopt;
  return static_cast<char>('0' + (code_point - above[-1]));
}

std::optional<ExtractedNumber> ReadSakana(absl::string_view match) {
  std::string ascii;
  while (!match.empty()) {
    uint32_t c = 0;
    match.remove_prefix(std::max(1, Utf8Character(match, &c)));
    if (c == '.') {
      ascii += '.';
    } else if (const auto digit = AsciiDigit(c)) {
      ascii += *digit;
    } else {
      return std::nullopt;
    }
  }
  ExtractedNumber number;
  if (!absl::SimpleAtod(ascii, &number.value)) return std::nullopt;
  number.text = std::isfinite(number.value) ? nlohmann::json(number.value).dump() : "Infinity";
  return number;
}

std::optional<ExtractedNumber> ReadJpLmeh(absl::string_view match) {
  while (!match.empty() && match.front() == '.') match.remove_prefix(1);
  while (!match.empty() && match.back() == '.') match.remove_suffix(1);
  double value = 0;
  if (!absl::SimpleAtod(absl::StrReplaceAll(match, {{",", ""}}), &value)) return std::nullopt;
  if (!std::isfinite(value) || value != std::floor(value)) return std::nullopt;
  value += 0.0;  // -0 is printed as 0
  return ExtractedNumber{absl::StrFormat("%.0f", value), value};
}

}  // namespace

NumberRule::NumberRule(absl::string_view pattern, Reader reader) : reader_(reader) {
  int error = 0;
  PCRE2_SIZE at = 0;
  code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &at,
                        nullptr);
  MG_CHECK(code_ != nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  MG_CHECK(context != nullptr);
  pcre2_set_match_limit(context, kMatchLimit);
  pcre2_set_depth_limit(context, kDepthLimit);
  pcre2_set_heap_limit(context, kHeapLimitKib);
  context_ = context;
}

const std::vector<std::string>& NumberRule::Names() {
  static const auto* const names = new std::vector<std::string>{"sakana", "jp_lmeh"};
  return *names;
}

absl::StatusOr<const NumberRule*> NumberRule::ByName(absl::string_view name) {
  static const NumberRule* const sakana = new NumberRule(R"(\d*\.?\d+)", &ReadSakana);
  static const NumberRule* const jp_lmeh = new NumberRule(R"(-?[0-9.,]+)", &ReadJpLmeh);
  if (name == "sakana") return sakana;
  if (name == "jp_lmeh") return jp_lmeh;
  return absl::InvalidArgumentError(absl::StrCat("extract '", name, "' is not a number rule", DidYouMean(name, Names())));
}

std::optional<ExtractedNumber> NumberRule::Extract(absl::string_view completion) const {
  // Checked once here: the library would check the whole rest again at every match.
  std::string replaced;
  if (FirstInvalidUtf8(completion)) {
    replaced = ToValidUtf8(completion);
    completion = replaced;
  }
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  if (match == nullptr) return std::nullopt;
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match);
  // A null pointer is no subject before PCRE2 10.40, whatever the length.
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(completion.empty() ? "" : completion.data());
  absl::string_view last;
  size_t from = 0;
  int found = 0;
  // No pattern matches the empty string, so each round goes forward.
  while ((found = pcre2_match(static_cast<const pcre2_code*>(code_), subject, completion.size(), from, PCRE2_NO_UTF_CHECK,
                              match, static_cast<pcre2_match_context*>(context_))) > 0) {
    last = completion.substr(range[0], range[1] - range[0]);
    from = range[1];
  }
  pcre2_match_data_free(match);
  if (found != PCRE2_ERROR_NOMATCH || last.empty()) return std::nullopt;
  return reader_(last);
}

}  // namespace merganser

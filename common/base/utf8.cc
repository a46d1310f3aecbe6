#include "common/base/utf8.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace merganser {

size_t FindInvalidUtf8(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<uint8_t>(text[at]);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    // What the second byte must lie in, so that nothing is overlong, a surrogate or too large.
    const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0xc2 || lead > 0xf4 || at + more >= text.size()) return at;
    for (size_t i = 1; i <= more; ++i) {
      const auto byte = static_cast<uint8_t>(text[at + i]);
      if (byte < (i == 1 ? low : 0x80) || byte > (i == 1 ? high : 0xbf)) return at;
    }
    at += more + 1;
  }
  return absl::string_view::npos;
}

std::string WithLoneBytesAsCharacters(absl::string_view text) {
  std::string valid;
  while (true) {
    const size_t bad = FindInvalidUtf8(text);
    absl::StrAppend(&valid, text.substr(0, bad));
    if (bad == absl::string_view::npos) return valid;
    const auto byte = static_cast<uint8_t>(text[bad]);
    valid.push_back(static_cast<char>(0xc0 | byte >> 6));
    valid.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    text.remove_prefix(bad + 1);
  }
}

absl::Status CheckUtf8(absl::string_view text, absl::string_view file) {
  const size_t bad = FindInvalidUtf8(text);
  if (bad == absl::string_view::npos) return absl::OkStatus();
  const auto line = std::count(text.begin(), text.begin() + static_cast<int64_t>(bad), '\n') + 1;
  return absl::InvalidArgumentError(absl::StrCat(file, ":", line, ": not UTF-8 text"));
}

}  // namespace merganser

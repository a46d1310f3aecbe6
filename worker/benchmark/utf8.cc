#include "worker/benchmark/utf8.h"

#include "absl/strings/str_cat.h"

namespace merganser {

int Utf8Character(absl::string_view text, uint32_t* code_point) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  uint32_t c;
  int length;
  uint32_t least;  // smaller values would be overlong
  if (lead < 0x80) {
    if (code_point != nullptr) *code_point = lead;
    return 1;
  } else if (lead >= 0xC2 && lead <= 0xDF) {
    c = lead & 0x1F, length = 2, least = 0x80;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    c = lead & 0x0F, length = 3, least = 0x800;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    c = lead & 0x07, length = 4, least = 0x10000;
  } else {
    return 0;
  }
  if (text.size() < static_cast<size_t>(length)) return 0;
  for (int i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    c = (c << 6) | (byte(i) & 0x3F);
  }
  if (c < least || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
  if (code_point != nullptr) *code_point = c;
  return length;
}

std::optional<size_t> FirstInvalidUtf8(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const int length = Utf8Character(text.substr(at), nullptr);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::string ToValidUtf8(absl::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t bad = FirstInvalidUtf8(text).value_or(text.size());
    absl::StrAppend(&valid, text.substr(0, bad));
    text.remove_prefix(bad);
    if (!text.empty()) {
      absl::StrAppend(&valid, "\xEF\xBF\xBD");
      text.remove_prefix(1);
    }
  }
  return valid;
}

std::string Shortened(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

}  // namespace merganser

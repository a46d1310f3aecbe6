#include "worker/benchmark/text_forms.h"

#include <locale.h>
#include <wctype.h>

#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "worker/benchmark/utf8.h"

namespace merganser {
namespace {

// Python's str.isspace().
bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (c >> 6)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (c >> 12)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (c >> 18)));
    out->push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

locale_t Unicode() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{});
  MG_CHECK(locale != locale_t{});
  return locale;
}

template <typename Use>
void ForEachCharacter(absl::string_view text, const Use& use) {
  while (!text.empty()) {
    uint32_t c = 0;
    int length = Utf8Character(text, &c);
    if (length == 0) {
      c = 0xFFFD;
      length = 1;
    }
    use(c, text.substr(0, length));
    text.remove_prefix(length);
  }
}

template <typename Map>
std::string Mapped(absl::string_view text, const Map& map) {
  std::string out;
  out.reserve(text.size());
  ForEachCharacter(text, [&](uint32_t c, absl::string_view) { AppendUtf8(map(c), &out); });
  return out;
}

template <typename Keep>
std::string Filtered(absl::string_view text, const Keep& keep) {
  std::string out;
  for (const char c : text) {
    if (keep(c)) out.push_back(c);
  }
  return out;
}

// One quoted string at the start of `text`, which is moved behind it.
bool ParseQuoted(absl::string_view* text, std::string* value) {
  const char quote = text->front();
  text->remove_prefix(1);
  while (!text->empty()) {
    const char c = text->front();
    text->remove_prefix(1);
    if (c == quote) return true;
    if (c != '\\') {
      value->push_back(c);
      continue;
    }
    if (text->empty()) return false;
    const char escaped = text->front();
    text->remove_prefix(1);
    size_t digits = 0;
    switch (escaped) {
      case 'n':
        value->push_back('\n');
        break;
      case 't':
        value->push_back('\t');
        break;
      case 'r':
        value->push_back('\r');
        break;
      case '\\':
      case '\'':
      case '"':
        value->push_back(escaped);
        break;
      case 'x':
        digits = 2;
        break;
      case 'u':
        digits = 4;
        break;
      case 'U':
        digits = 8;
        break;
      default:
        return false;
    }
    if (digits == 0) continue;
    uint32_t c32 = 0;
    if (text->size() < digits || !absl::SimpleHexAtoi(text->substr(0, digits), &c32) || c32 > 0x10FFFF ||
        (c32 >= 0xD800 && c32 <= 0xDFFF)) {
      return false;
    }
    AppendUtf8(c32, value);
    text->remove_prefix(digits);
  }
  return false;
}

void SkipSpace(absl::string_view* text) {
  while (!text->empty() && absl::ascii_isspace(text->front())) text->remove_prefix(1);
}

}  // namespace

absl::string_view StripTrailingWhitespace(absl::string_view text) {
  size_t kept = 0, at = 0;
  ForEachCharacter(text, [&](uint32_t c, absl::string_view bytes) {
    at += bytes.size();
    if (!IsSpace(c)) kept = at;
  });
  return text.substr(0, kept);
}

absl::string_view StripWhitespace(absl::string_view text) {
  uint32_t c = 0;
  for (int length = 0; (length = Utf8Character(text, &c)) > 0 && IsSpace(c);) text.remove_prefix(length);
  return StripTrailingWhitespace(text);
}

std::string Lowercase(absl::string_view text) {
  return Mapped(text, [](uint32_t c) {
    return c < 0x80 ? uint32_t(absl::ascii_tolower(static_cast<unsigned char>(c))) : uint32_t(towlower_l(c, Unicode()));
  });
}

std::string Uppercase(absl::string_view text) {
  return Mapped(text, [](uint32_t c) {
    return c < 0x80 ? uint32_t(absl::ascii_toupper(static_cast<unsigned char>(c))) : uint32_t(towupper_l(c, Unicode()));
  });
}

std::string WithoutPunctuation(absl::string_view text) {
  return Filtered(text, [](char c) { return !absl::ascii_ispunct(c); });
}

std::string WithoutDigits(absl::string_view text) {
  return Filtered(text, [](char c) { return !absl::ascii_isdigit(c); });
}

std::vector<std::string> SquadWords(absl::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto end = [&] {
    if (!word.empty() && word != "a" && word != "an" && word != "the") words.push_back(std::move(word));
    word.clear();
  };
  ForEachCharacter(WithoutPunctuation(Lowercase(text)), [&](uint32_t c, absl::string_view bytes) {
    if (IsSpace(c)) {
      end();
    } else {
      absl::StrAppend(&word, bytes);
    }
  });
  end();
  return words;
}

std::vector<std::string> RougeWords(absl::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : Lowercase(text)) {
    if (absl::ascii_isalnum(c)) {
      words.back().push_back(c);
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

std::vector<std::string> WhitespaceWords(absl::string_view text) {
  std::vector<std::string> words;
  bool in_word = false;
  ForEachCharacter(text, [&](uint32_t c, absl::string_view bytes) {
    if (!IsSpace(c)) {
      if (!in_word) words.emplace_back();
      absl::StrAppend(&words.back(), bytes);
    }
    in_word = !IsSpace(c);
  });
  return words;
}

std::vector<std::string> Characters(absl::string_view text) {
  std::vector<std::string> characters;
  ForEachCharacter(text, [&](uint32_t c, absl::string_view bytes) {
    if (!IsSpace(c)) characters.emplace_back(bytes);
  });
  return characters;
}

bool ParsePythonList(absl::string_view text, std::vector<std::string>* elements) {
  elements->clear();
  SkipSpace(&text);
  if (text.empty() || text.front() != '[') return false;
  text.remove_prefix(1);
  for (bool first = true;; first = false) {
    SkipSpace(&text);
    if (!text.empty() && text.front() == ']') break;
    if (!first) {
      if (text.empty() || text.front() != ',') return false;
      text.remove_prefix(1);
      SkipSpace(&text);
      if (!text.empty() && text.front() == ']') break;
    }
    if (text.empty()) return false;
    std::string element;
    if (text.front() == '\'' || text.front() == '"') {
      if (!ParseQuoted(&text, &element)) return false;
    } else {
      if (text.front() == '-') element.push_back('-'), text.remove_prefix(1);
      const size_t before = element.size();
      while (!text.empty() && absl::ascii_isdigit(text.front())) element.push_back(text.front()), text.remove_prefix(1);
      if (element.size() == before) return false;
    }
    elements->push_back(std::move(element));
  }
  text.remove_prefix(1);
  SkipSpace(&text);
  return text.empty();
}

}  // namespace merganser

#include "worker/benchmark/regex.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "worker/benchmark/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace merganser {
namespace {

// A completion is a few kilobytes; a pattern that needs more steps on it is a mistake, not a rule.
constexpr uint32_t kRegexMatchLimit = 10'000'000;
constexpr uint32_t kRegexDepthLimit = 100'000;
constexpr uint32_t kRegexHeapLimitKib = 64 * 1024;

std::string ErrorText(int error) {
  PCRE2_UCHAR buffer[160];
  pcre2_get_error_message(error, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

void Regex::Free::operator()(void* code) const { pcre2_code_free(static_cast<pcre2_code*>(code)); }

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  if (FirstInvalidUtf8(pattern)) {
    return absl::InvalidArgumentError(absl::StrCat("pattern '", Shortened(ToValidUtf8(pattern)), "': invalid UTF-8"));
  }
  int error = 0;
  PCRE2_SIZE at = 0;
  // NEVER_BACKSLASH_C: it could split a character, and matches must stay valid UTF-8.
  void* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.empty() ? "" : pattern.data()), pattern.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr);
  if (code == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("pattern '", Shortened(pattern), "': ", ErrorText(error), ", at ", at));
  }
  return Regex(code);
}

template <typename Use>
void Regex::ForEach(absl::string_view text, const Use& use) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(code, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  if (match != nullptr && context != nullptr) {
    pcre2_set_match_limit(context, kRegexMatchLimit);
    pcre2_set_depth_limit(context, kRegexDepthLimit);
    pcre2_set_heap_limit(context, kRegexHeapLimitKib);
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match);
    size_t from = 0;
    while (from <= text.size() && pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, match, context) > 0) {
      const size_t begin = range[0], end = range[1];
      if (begin > end || begin < from) break;  // \K inside a lookahead
      use(begin, end, range, pcre2_get_ovector_count(match));
      if (begin < end) {
        from = end;
        continue;
      }
      // An empty match: a longer one may start here, else the search goes on behind this character.
      if (pcre2_match(code, subject, text.size(), end, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED, match,
                      context) > 0 &&
          range[0] == end && range[1] > end) {
        use(range[0], range[1], range, pcre2_get_ovector_count(match));
        from = range[1];
        continue;
      }
      from = end + std::max(1, Utf8Character(text.substr(end), nullptr));
    }
  }
  pcre2_match_context_free(context);
  pcre2_match_data_free(match);
}

std::vector<std::vector<std::string>> Regex::FindAll(absl::string_view text) const {
  std::string replaced;
  if (FirstInvalidUtf8(text)) text = replaced = ToValidUtf8(text);
  std::vector<std::vector<std::string>> found;
  ForEach(text, [&](size_t begin, size_t end, const PCRE2_SIZE* range, uint32_t groups) {
    std::vector<std::string> match;
    for (uint32_t g = 1; g < groups; ++g) {
      const size_t from = range[2 * g], to = range[2 * g + 1];
      match.push_back(from == PCRE2_UNSET || from > to ? "" : std::string(text.substr(from, to - from)));
    }
    if (groups == 1) match.push_back(std::string(text.substr(begin, end - begin)));
    found.push_back(std::move(match));
  });
  return found;
}

std::string Regex::Without(absl::string_view text) const {
  std::string replaced;
  if (FirstInvalidUtf8(text)) text = replaced = ToValidUtf8(text);
  std::string kept;
  size_t from = 0;
  ForEach(text, [&](size_t begin, size_t end, const PCRE2_SIZE*, uint32_t) {
    absl::StrAppend(&kept, text.substr(from, begin - from));
    from = end;
  });
  absl::StrAppend(&kept, text.substr(from));
  return kept;
}

}  // namespace merganser

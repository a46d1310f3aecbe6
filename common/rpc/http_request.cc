#include "common/rpc/http_request.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace merganser {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

const std::string* Find(const std::map<std::string, std::string>& map, const std::string& name) {
  const auto it = map.find(name);
  return it == map.end() ? nullptr : &it->second;
}

}  // namespace

std::string HttpRequest::Query(const std::string& name) const {
  const std::string* value = Find(query, name);
  return value == nullptr ? "" : *value;
}

std::string HttpRequest::Header(const std::string& name) const {
  const std::string* value = Find(headers, name);
  return value == nullptr ? "" : *value;
}

std::optional<int64_t> HttpRequest::QueryNumber(const std::string& name, int64_t fallback, int64_t low, int64_t high) const {
  const std::string* value = Find(query, name);
  if (value == nullptr) return fallback;
  int64_t number = 0;
  if (!absl::SimpleAtoi(*value, &number) || number < low || number > high) return std::nullopt;
  return number;
}

std::optional<HttpRequest> ParseRequestHead(absl::string_view head) {
  const std::vector<absl::string_view> lines = absl::StrSplit(head, "\r\n");
  const std::vector<absl::string_view> words = absl::StrSplit(lines[0], ' ');
  if (words.size() != 3 || !absl::StartsWith(words[2], "HTTP/1.") || !absl::StartsWith(words[1], "/")) return std::nullopt;
  HttpRequest request;
  request.method = std::string(words[0]);
  const std::pair<absl::string_view, absl::string_view> target = absl::StrSplit(words[1], absl::MaxSplits('?', 1));
  request.path = std::string(target.first);
  for (const absl::string_view part : absl::StrSplit(target.second, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    request.query[DecodeUrl(pair.first)] = DecodeUrl(pair.second);
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
    if (pair.first.empty()) continue;
    request.headers[absl::AsciiStrToLower(pair.first)] = std::string(absl::StripAsciiWhitespace(pair.second));
  }
  return request;
}

std::string DecodeUrl(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

}  // namespace merganser

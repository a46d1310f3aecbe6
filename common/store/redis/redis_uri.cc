#include "common/store/redis/redis_uri.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("store uri redis://...: ", what, "; expected redis://[user:password@]host[:port][/db][?prefix=mg:]"));
}

absl::StatusOr<std::string> PercentDecode(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !absl::ascii_isxdigit(text[i + 1]) || !absl::ascii_isxdigit(text[i + 2])) {
      return Bad("a '%' in user, password or option is not followed by two hexadecimal digits");
    }
    out += absl::HexStringToBytes(text.substr(i + 1, 2));
    i += 2;
  }
  return out;
}

absl::Status ParseOption(absl::string_view option, RedisOptions& options) {
  const std::pair<absl::string_view, absl::string_view> kv = absl::StrSplit(option, absl::MaxSplits('=', 1));
  MG_ASSIGN_OR_RETURN(const std::string value, PercentDecode(kv.second));
  if (kv.first == "prefix") {
    // An empty prefix would mix our keys with those of others.
    if (value.empty()) return Bad("prefix is empty");
    options.prefix = value;
    return absl::OkStatus();
  }
  if (kv.first == "password_file") {
    MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(value, /*max_bytes=*/4096));
    const std::vector<absl::string_view> lines = absl::StrSplit(text, absl::MaxSplits('\n', 1));
    options.password = std::string(absl::StripSuffix(lines[0], "\r"));
    if (options.password.empty()) return Bad(absl::StrCat("password_file '", value, "' is empty"));
    return absl::OkStatus();
  }
  return Bad(absl::StrCat("unknown option '", kv.first, "'", DidYouMean(kv.first, {"prefix", "password_file"})));
}

absl::Status ParseHostPort(absl::string_view text, RedisOptions& options) {
  absl::string_view port;
  if (absl::ConsumePrefix(&text, "[")) {  // [::1]:6379
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) return Bad("'[' without ']' in the host");
    port = text.substr(end + 1);
    text = text.substr(0, end);
    if (!port.empty() && !absl::ConsumePrefix(&port, ":")) return Bad("text after ']'");
  } else if (const size_t colon = text.rfind(':'); colon != absl::string_view::npos) {
    port = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  if (text.empty()) return Bad("no host");
  options.host = std::string(text);
  if (port.empty()) return absl::OkStatus();
  if (!absl::SimpleAtoi(port, &options.port) || options.port < 1 || options.port > 65535) {
    return Bad(absl::StrCat("port '", port, "' is not in 1..65535"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string RedisOptions::Display() const {
  const bool v6 = host.find(':') != std::string::npos;
  return absl::StrCat("redis://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port, "/", db);
}

absl::StatusOr<RedisOptions> ParseRedisUri(absl::string_view uri) {
  if (!absl::ConsumePrefix(&uri, "redis://")) return Bad("another scheme");
  RedisOptions options;
  const size_t question = uri.find('?');
  const absl::string_view query = question == absl::string_view::npos ? absl::string_view() : uri.substr(question + 1);
  uri = uri.substr(0, question);
  // The last '@' of the whole: a password may hold '/' and '@'.
  if (const size_t at = uri.rfind('@'); at != absl::string_view::npos) {
    const std::pair<absl::string_view, absl::string_view> login = absl::StrSplit(uri.substr(0, at), absl::MaxSplits(':', 1));
    MG_ASSIGN_OR_RETURN(options.user, PercentDecode(login.first));
    MG_ASSIGN_OR_RETURN(options.password, PercentDecode(login.second));
    uri = uri.substr(at + 1);
  }
  const size_t slash = uri.find('/');
  MG_RETURN_IF_ERROR(ParseHostPort(uri.substr(0, slash), options));
  const absl::string_view db = slash == absl::string_view::npos ? absl::string_view() : uri.substr(slash + 1);
  if (!db.empty() && (!absl::SimpleAtoi(db, &options.db) || options.db < 0)) {
    return Bad(absl::StrCat("database '", db, "' is not a number"));
  }
  for (const absl::string_view option : absl::StrSplit(query, '&', absl::SkipEmpty())) {
    MG_RETURN_IF_ERROR(ParseOption(option, options));
  }
  if (!options.user.empty() && options.password.empty()) {
    return Bad(absl::StrCat("user '", options.user, "' without a password"));
  }
  return options;
}

}  // namespace merganser

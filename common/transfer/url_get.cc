#include "common/transfer/url_get.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace merganser {
namespace {

constexpr long kRedirectsMax = 10;

struct Transfer {
  CURL* curl = nullptr;
  const UrlRequest* request = nullptr;
  const std::function<absl::Status(absl::string_view)>* sink = nullptr;
  std::stop_token stop;
  int64_t skip = -1;  // bytes to drop; -1: not known yet
  int64_t received = 0;
  absl::Status status;
  std::string sha256;  // of the last answer's headers
};

long ResponseCode(CURL* curl) {
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  return code;
}

// Whole answers have 200 and parts 206; a file has neither.
bool IsBody(long code) { return code == 0 || (code >= 200 && code < 300); }

size_t OnBody(char* bytes, size_t one, size_t size, void* context) {
  auto* const transfer = static_cast<Transfer*>(context);
  size *= one;
  const long code = ResponseCode(transfer->curl);
  if (!IsBody(code)) return size;  // an error's page
  if (transfer->skip < 0) transfer->skip = code == 200 ? transfer->request->offset : 0;
  absl::string_view rest(bytes, size);
  const auto dropped = std::min<int64_t>(transfer->skip, static_cast<int64_t>(size));
  transfer->skip -= dropped;
  rest.remove_prefix(dropped);
  transfer->received += static_cast<int64_t>(rest.size());
  if (transfer->received > transfer->request->bytes_max) {
    transfer->status = absl::ResourceExhaustedError(absl::StrCat("is longer than ", transfer->request->bytes_max, " bytes"));
  } else if (!rest.empty()) {
    transfer->status = (*transfer->sink)(rest);
  }
  return transfer->status.ok() ? size : 0;
}

// 64 hexadecimal digits of 32 bytes in base 64; "" if it is something else (a checksum of checksums of parts, say).
std::string DecodeSha256(absl::string_view base64) {
  std::string bytes;
  if (!absl::Base64Unescape(base64, &bytes) || bytes.size() != 32) return "";
  return absl::BytesToHexString(bytes);
}

size_t OnHeader(char* bytes, size_t one, size_t size, void* context) {
  auto* const transfer = static_cast<Transfer*>(context);
  const absl::string_view line = absl::StripAsciiWhitespace(absl::string_view(bytes, one * size));
  if (absl::StartsWith(line, "HTTP/")) transfer->sha256.clear();  // the next answer, behind a redirect
  const std::pair<absl::string_view, absl::string_view> field = absl::StrSplit(line, absl::MaxSplits(':', 1));
  const absl::string_view value = absl::StripAsciiWhitespace(field.second);
  if (absl::EqualsIgnoreCase(field.first, "x-amz-checksum-sha256")) {
    transfer->sha256 = DecodeSha256(value);
  } else if (absl::EqualsIgnoreCase(field.first, "repr-digest") || absl::EqualsIgnoreCase(field.first, "digest")) {
    for (absl::string_view item : absl::StrSplit(value, ',')) {  // RFC 9530: sha-256=:BASE64:, RFC 3230: SHA-256=BASE64
      const std::pair<absl::string_view, absl::string_view> digest =
          absl::StrSplit(absl::StripAsciiWhitespace(item), absl::MaxSplits('=', 1));
      if (!absl::EqualsIgnoreCase(digest.first, "sha-256")) continue;
      transfer->sha256 = DecodeSha256(absl::StripPrefix(absl::StripSuffix(digest.second, ":"), ":"));
    }
  }
  return one * size;
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(context)->stop.stop_requested() ? 1 : 0;
}

struct Headers {
  curl_slist* list = nullptr;
  ~Headers() { curl_slist_free_all(list); }
  void Add(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

std::string Shown(absl::string_view url) { return std::string(url.substr(0, url.find('?'))); }

absl::Status StatusOf(CURLcode code, const Transfer& transfer, const char* detail) {
  const UrlRequest& request = *transfer.request;
  const std::string at = absl::StrCat(Shown(request.url), ": ");
  if (!transfer.status.ok()) return absl::Status(transfer.status.code(), absl::StrCat(at, transfer.status.message()));
  if (transfer.stop.stop_requested()) return absl::CancelledError(absl::StrCat(at, "stopped"));
  const long http = ResponseCode(transfer.curl);
  if (code == CURLE_OK && IsBody(http)) return absl::OkStatus();
  if (http == 404 || http == 410 || code == CURLE_FILE_COULDNT_READ_FILE || code == CURLE_REMOTE_FILE_NOT_FOUND) {
    return absl::NotFoundError(absl::StrCat(at, "not there"));
  }
  if (http == 401 || http == 403) {
    return absl::PermissionDeniedError(
        absl::StrCat(at, "the server answers ", http, http == 401 ? ": it wants a token" : ""));
  }
  if (http == 416 || code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME) {
    return absl::OutOfRangeError(absl::StrCat(at, "ends before byte ", request.offset));
  }
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    return absl::InvalidArgumentError(absl::StrCat(at, curl_easy_strerror(code)));
  }
  if (code == CURLE_OK) return absl::UnavailableError(absl::StrCat(at, "the server answers ", http));
  return absl::UnavailableError(absl::StrCat(at, *detail != '\0' ? detail : curl_easy_strerror(code)));
}

}  // namespace

S3Access S3AccessFrom(const std::function<const char*(const char*)>& getenv) {
  const auto value = [&](std::initializer_list<const char*> names) -> std::string {
    for (const char* name : names) {
      const char* const found = getenv(name);
      if (found != nullptr && *found != '\0') return found;
    }
    return "";
  };
  S3Access access;
  access.region = value({"AWS_REGION", "AWS_DEFAULT_REGION"});
  if (access.region.empty()) access.region = "us-east-1";
  access.endpoint = value({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
  if (access.endpoint.empty()) access.endpoint = absl::StrCat("https://s3.", access.region, ".amazonaws.com");
  access.key_id = value({"AWS_ACCESS_KEY_ID"});
  access.secret = value({"AWS_SECRET_ACCESS_KEY"});
  access.session_token = value({"AWS_SESSION_TOKEN"});
  return access;
}

absl::StatusOr<UrlAnswer> GetUrl(const UrlRequest& request, const std::function<absl::Status(absl::string_view)>& sink,
                                 std::stop_token stop) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, void (*)(CURL*)> owned(curl_easy_init(), curl_easy_cleanup);
  CURL* const curl = owned.get();
  if (curl == nullptr) return absl::ResourceExhaustedError("libcurl cannot be used: out of memory");
  Transfer transfer{.curl = curl, .request = &request, .sink = &sink, .stop = std::move(stop)};
  char detail[CURL_ERROR_SIZE] = "";
  Headers headers;
  std::string url = request.url;
  const char* protocols = "http,https";
  if (absl::string_view key = url; absl::ConsumePrefix(&key, "s3://")) {
    url = absl::StrCat(absl::StripSuffix(request.s3.endpoint, "/"), "/", key);
    if (!request.s3.key_id.empty()) {
      curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, absl::StrCat("aws:amz:", request.s3.region, ":s3").c_str());
      curl_easy_setopt(curl, CURLOPT_USERPWD, absl::StrCat(request.s3.key_id, ":", request.s3.secret).c_str());
      headers.Add("x-amz-content-sha256: UNSIGNED-PAYLOAD");
      if (request.head) headers.Add("x-amz-checksum-mode: ENABLED");
      if (!request.s3.session_token.empty()) headers.Add(absl::StrCat("x-amz-security-token: ", request.s3.session_token));
    }
  } else if (absl::StartsWith(url, "file://")) {
    protocols = "file";
  } else if (!request.bearer.empty()) {
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request.bearer.c_str());
  }
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kRedirectsMax);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.list);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "merganser");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(request.connect_timeout)));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(absl::ToInt64Seconds(request.stall_timeout)));
  if (request.bytes_per_second > 0) {
    curl_easy_setopt(curl, CURLOPT_MAX_RECV_SPEED_LARGE, static_cast<curl_off_t>(request.bytes_per_second));
  }
  if (request.head) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  const std::string range = absl::StrCat(request.offset, "-");
  if (request.offset > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  if (absl::Status status = StatusOf(code, transfer, detail); !status.ok()) return status;
  UrlAnswer answer;
  answer.sha256 = std::move(transfer.sha256);
  curl_off_t length = -1;
  curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length >= 0) answer.size = length + (request.offset > 0 && ResponseCode(curl) != 200 ? request.offset : 0);
  return answer;
}

}  // namespace merganser

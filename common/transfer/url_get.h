// Reads a URL from an offset on: file://, http://, https:// and s3:// (with AWS's Signature 4), over libcurl.
#ifndef MERGANSER_COMMON_TRANSFER_URL_GET_H_
#define MERGANSER_COMMON_TRANSFER_URL_GET_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace merganser {

// Where s3://BUCKET/KEY is: ENDPOINT/BUCKET/KEY. Without keys the request is not signed (public buckets).
struct S3Access {
  std::string endpoint;  // "https://s3.us-east-1.amazonaws.com"
  std::string region;
  std::string key_id, secret, session_token;
};

// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; AWS_REGION, AWS_DEFAULT_REGION; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN. `getenv` gives a variable's value or nullptr.
S3Access S3AccessFrom(const std::function<const char*(const char*)>& getenv);

struct UrlRequest {
  std::string url;
  int64_t offset = 0;
  bool head = false;                     // no body: whether it is there, and its size
  std::string bearer;                    // not sent on to another host that the server redirects to
  S3Access s3;                           // of s3:// URLs
  int64_t bytes_max = int64_t{1} << 50;  // of the body
  int64_t bytes_per_second = 0;          // at most; 0: no bound
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration stall_timeout = absl::Seconds(60);  // with not one byte a second
};

struct UrlAnswer {
  int64_t size = -1;  // of the whole file; -1: the server did not say
  std::string
      sha256;  // of the whole file, as the server says in x-amz-checksum-sha256, Repr-Digest or Digest; "": it does not
};

// Calls `sink` with the bytes from `offset` on, in order; an error of the sink ends it and is returned. A server that
// ignores ranges is read from the start, and the beginning dropped. Redirects are followed (http and https only, 10 at
// most).
//
// NotFound: 404, no such file. PermissionDenied: 401, 403. InvalidArgument: the URL or its scheme. OutOfRange: `offset` is
// beyond the file's end. ResourceExhausted: longer than bytes_max. Unavailable: any other failure, a transfer that broke off
// in the middle too: go on from where it is. Cancelled. Messages name the URL without its query. Any thread.
absl::StatusOr<UrlAnswer> GetUrl(const UrlRequest& request, const std::function<absl::Status(absl::string_view)>& sink,
                                 std::stop_token stop = {});

}  // namespace merganser

#endif  // MERGANSER_COMMON_TRANSFER_URL_GET_H_

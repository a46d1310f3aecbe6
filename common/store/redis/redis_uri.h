// Where a Redis store is:
// redis://[[user]:password@]host[:port][/db][?prefix=mg:&password_file=PATH].
#ifndef MERGANSER_COMMON_STORE_REDIS_REDIS_URI_H_
#define MERGANSER_COMMON_STORE_REDIS_REDIS_URI_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace merganser {

struct RedisOptions {
  std::string host = "127.0.0.1";
  int port = 6379;
  int db = 0;
  std::string user;            // "": the server's default user
  std::string password;        // "": no AUTH
  std::string prefix = "mg:";  // of every key; the ACL users in deploy/redis expect this one

  // For connecting, and for a reply. A large value (a record of 64 MiB) is given a second per 8 MiB
  // more.
  absl::Duration timeout = absl::Seconds(2);
  // Tries of one command, with full-jitter pauses between them that double from `backoff` up to
  // `backoff_max`; no new try starts once `give_up` has passed. A caller that wants to wait longer
  // repeats.
  int attempts = 4;
  absl::Duration backoff = absl::Milliseconds(50);
  absl::Duration backoff_max = absl::Milliseconds(500);
  absl::Duration give_up = absl::Seconds(4);

  // "redis://host:6379/0", without user and password: for messages, logs and process lists.
  std::string Display() const;
};

// User and password may be percent-encoded; password_file names a file whose first line is the
// password, which keeps it out of process lists. InvalidArgument for anything else (no message ever
// holds the password); errors of the file.
absl::StatusOr<RedisOptions> ParseRedisUri(absl::string_view uri);

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_REDIS_URI_H_

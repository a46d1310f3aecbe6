// One connection to a Redis server. The only file pair that knows hiredis.
#ifndef MERGANSER_COMMON_STORE_REDIS_REDIS_CLIENT_H_
#define MERGANSER_COMMON_STORE_REDIS_REDIS_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/rng.h"
#include "common/store/redis/redis_uri.h"

struct redisContext;
struct redisReply;

namespace merganser {

// A reply that is not an error.
struct RedisReply {
  enum class Kind { kNil, kInteger, kText, kArray };
  Kind kind = Kind::kNil;
  int64_t integer = 0;
  std::string text;  // bulk or status string; any bytes
  std::vector<RedisReply> elements;
};

// The Status of an error reply ("OOM command not allowed ..."), by what the caller does next:
//   Unavailable        LOADING BUSY TRYAGAIN CLUSTERDOWN MASTERDOWN READONLY MOVED NOREPLICAS: retry
//   ResourceExhausted  OOM MISCONF: memory or disk full
//   Unauthenticated    NOAUTH WRONGPASS
//   PermissionDenied   NOPERM
//   NotFound           a function that is not loaded
//   Unimplemented      an unknown command (an older server)
//   Internal           all else
absl::Status StatusFromRedisError(absl::string_view error);

// Connects when first used and again after any failure. Not thread-safe.
class RedisClient {
 public:
  explicit RedisClient(RedisOptions options);
  ~RedisClient();
  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  // Sends one command and waits for its reply. When the connection fails or the server says "try
  // again", it repeats as RedisOptions says (blocking for `give_up` plus one `timeout` at most), so
  // `args` must be idempotent: an earlier try may have been carried out although its reply was
  // lost. Errors: StatusFromRedisError, with the server's address in front; Unavailable when the
  // server is away.
  absl::StatusOr<RedisReply> Command(absl::Span<const absl::string_view> args);

 private:
  absl::Status Connect();
  void Disconnect();
  absl::StatusOr<RedisReply> TryOnce(absl::Span<const absl::string_view> args);
  absl::StatusOr<RedisReply> Exchange(absl::Span<const absl::string_view> args);
  absl::Status ConnectionError(absl::Duration timeout) const;

  const RedisOptions options_;
  const std::string server_;  // for messages
  Rng jitter_;
  redisContext* context_ = nullptr;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_REDIS_CLIENT_H_

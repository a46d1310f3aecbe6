// What a Redis server says of its append-only file.
#ifndef MERGANSER_COMMON_STORE_REDIS_REDIS_PERSISTENCE_H_
#define MERGANSER_COMMON_STORE_REDIS_REDIS_PERSISTENCE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/store/redis/redis_client.h"

namespace merganser {

// `aof_delayed_fsync` of the text that INFO answers. Internal: it is not there, as for a server without an append-only file,
// which shows none of these fields.
absl::StatusOr<int64_t> ParseDelayedFsyncs(absl::string_view info);

// Asks the server (INFO persistence). Errors: RedisClient::Command's and ParseDelayedFsyncs'.
absl::StatusOr<int64_t> DelayedFsyncs(RedisClient* client);

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_REDIS_PERSISTENCE_H_

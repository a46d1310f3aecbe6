// Connections to one Redis server, shared by the threads of a process.
#ifndef MERGANSER_COMMON_STORE_REDIS_REDIS_POOL_H_
#define MERGANSER_COMMON_STORE_REDIS_REDIS_POOL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "common/store/redis/redis_client.h"

namespace merganser {

// Thread-safe. Commands of different threads go through different connections, so that Redis fsyncs
// them in groups.
class RedisPool {
 public:
  // Beyond this many commands at once, callers wait. Redis' throughput with `appendfsync always` is
  // flat beyond it.
  static constexpr int kConnectionsMax = 16;

  explicit RedisPool(RedisOptions options) : options_(std::move(options)) {}

  // As RedisClient::Command.
  absl::StatusOr<RedisReply> Command(absl::Span<const absl::string_view> args) ABSL_LOCKS_EXCLUDED(mu_);

  const RedisOptions& options() const { return options_; }
  // prefix + `name`.
  std::string Key(absl::string_view name) const;

 private:
  bool CanTake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !idle_.empty() || opened_ < kConnectionsMax; }

  // Constant after construction.
  const RedisOptions options_;

  absl::Mutex mu_;
  std::vector<std::unique_ptr<RedisClient>> idle_ ABSL_GUARDED_BY(mu_);
  int opened_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_REDIS_POOL_H_

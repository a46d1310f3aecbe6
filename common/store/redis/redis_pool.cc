#include "common/store/redis/redis_pool.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace merganser {

std::string RedisPool::Key(absl::string_view name) const { return absl::StrCat(options_.prefix, name); }

absl::StatusOr<RedisReply> RedisPool::Command(absl::Span<const absl::string_view> args) {
  std::unique_ptr<RedisClient> client;
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &RedisPool::CanTake));
    if (idle_.empty()) {
      ++opened_;
    } else {
      client = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (client == nullptr) client = std::make_unique<RedisClient>(options_);
  absl::StatusOr<RedisReply> reply = client->Command(args);
  absl::MutexLock lock(&mu_);
  idle_.push_back(std::move(client));
  return reply;
}

}  // namespace merganser

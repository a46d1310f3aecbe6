#include "common/store/redis/redis_persistence.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"

namespace merganser {

absl::StatusOr<int64_t> ParseDelayedFsyncs(absl::string_view info) {
  for (absl::string_view line : absl::StrSplit(info, '\n')) {
    line = absl::StripSuffix(line, "\r");
    int64_t count = 0;
    if (absl::ConsumePrefix(&line, "aof_delayed_fsync:") && absl::SimpleAtoi(line, &count)) return count;
  }
  return absl::InternalError("INFO persistence has no aof_delayed_fsync: the server keeps no append-only file");
}

absl::StatusOr<int64_t> DelayedFsyncs(RedisClient* client) {
  MG_ASSIGN_OR_RETURN(const RedisReply reply, client->Command({"INFO", "persistence"}));
  return ParseDelayedFsyncs(reply.text);
}

}  // namespace merganser

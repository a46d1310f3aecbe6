#include "common/store/open_store.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/store/memory/memory_store.h"
#include "common/store/redis/redis_persistence.h"
#include "common/store/redis/redis_record_store.h"
#include "common/store/redis/redis_store.h"
#include "common/store/redis/redis_uri.h"
#include "common/store/sqlite/sqlite_store.h"

namespace merganser {
namespace {

absl::Status UnknownStore(absl::string_view uri) {
  constexpr absl::string_view kKnown = "memory:, sqlite:PATH, redis://HOST:PORT/DB";
  const size_t colon = uri.find(':');
  if (colon == absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("store '", uri, "' has no scheme; known: ", kKnown, " (a file: sqlite:", uri, ")"));
  }
  // Only the scheme is repeated: what follows may hold a password.
  const absl::string_view scheme = uri.substr(0, colon);
  if (scheme == "rediss") {
    return absl::InvalidArgumentError(
        "store scheme 'rediss:' (TLS) is not supported; connect by redis:// through a local TLS "
        "tunnel");
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown store scheme '", scheme, ":'; known: ", kKnown));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ResultsStore>> OpenStore(const std::string& uri, const OpenStoreOptions& options) {
  absl::string_view rest = uri;
  if (uri == "memory:") return std::make_unique<MemoryStore>(*options.clock);
  if (absl::ConsumePrefix(&rest, "sqlite:")) {
    absl::ConsumePrefix(&rest, "//");  // sqlite:///path, as other tools write it
    if (rest.empty()) return absl::InvalidArgumentError("store 'sqlite:' names no file");
    SqliteOptions sqlite;
    sqlite.read_only = options.read_only;
    sqlite.clock = options.clock;
    return SqliteStore::Open(std::string(rest), sqlite);
  }
  if (absl::StartsWith(uri, "redis://")) {
    MG_ASSIGN_OR_RETURN(const RedisOptions redis, ParseRedisUri(uri));
    return RedisStore::Open(redis, options.read_only);
  }
  return UnknownStore(uri);
}

absl::StatusOr<std::unique_ptr<RecordStore>> OpenRecordStore(const std::string& uri) {
  if (absl::StartsWith(uri, "redis://")) {
    MG_ASSIGN_OR_RETURN(const RedisOptions redis, ParseRedisUri(uri));
    auto store = std::make_unique<RedisRecordStore>(std::make_shared<RedisPool>(redis));
    MG_RETURN_IF_ERROR(store->Ping());
    return store;
  }
  if (absl::StartsWith(uri, "sqlite:") || absl::StartsWith(uri, "memory:")) {
    return absl::InvalidArgumentError(
        absl::StrCat("store '", uri, "' belongs to one process; workers need redis://HOST:PORT/DB"));
  }
  return UnknownStore(uri);
}

std::function<absl::StatusOr<StorePersistence>()> OpenPersistenceProbe(const std::string& uri) {
  if (!absl::StartsWith(uri, "redis://")) return nullptr;
  absl::StatusOr<RedisOptions> redis = ParseRedisUri(uri);
  if (!redis.ok()) return nullptr;
  redis->attempts = 1;
  return [client = std::make_shared<RedisClient>(*std::move(redis))]() -> absl::StatusOr<StorePersistence> {
    MG_ASSIGN_OR_RETURN(const int64_t delayed, DelayedFsyncs(client.get()));
    return StorePersistence{delayed};
  };
}

}  // namespace merganser

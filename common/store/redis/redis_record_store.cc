#include "common/store/redis/redis_record_store.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/store/store_errors.h"

namespace merganser {

absl::Status RedisRecordStore::PutRecord(const std::string& key, absl::string_view bytes) {
  MG_RETURN_IF_ERROR(store_errors::CheckRecordSize(key, bytes));
  const std::string name = pool_->Key(key);
  MG_ASSIGN_OR_RETURN(const RedisReply created, pool_->Command({"SETNX", name, bytes}));
  if (created.integer == 1) return absl::OkStatus();
  const absl::StatusOr<RedisReply> stored = pool_->Command({"GET", name});
  if (absl::IsPermissionDenied(stored.status())) return absl::OkStatus();
  MG_RETURN_IF_ERROR(stored.status());
  return stored->text == bytes ? absl::OkStatus() : store_errors::RecordDiffers(key);
}

absl::StatusOr<std::string> RedisRecordStore::GetRecord(const std::string& key) {
  MG_ASSIGN_OR_RETURN(RedisReply reply, pool_->Command({"GET", pool_->Key(key)}));
  if (reply.kind == RedisReply::Kind::kNil) return store_errors::NoRecord(key);
  return std::move(reply.text);
}

absl::Status RedisRecordStore::Ping() { return pool_->Command({"PING"}).status(); }

}  // namespace merganser

#include "common/store/redis/redis_record_store.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/store/store_errors.h"

namespace merganser {
namespace {

constexpr size_t kTogether = 64;  // records in one reply

}  // namespace

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

std::vector<absl::StatusOr<std::string>> RedisRecordStore::GetRecords(absl::Span<const std::string> keys) {
  std::vector<absl::StatusOr<std::string>> records;
  // A reply of records of the largest size must fit into memory.
  for (size_t begin = 0; begin < keys.size(); begin += kTogether) {
    const absl::Span<const std::string> some = keys.subspan(begin, kTogether);
    std::vector<std::string> names = {"MGET"};
    for (const std::string& key : some) names.push_back(pool_->Key(key));
    absl::StatusOr<RedisReply> reply = pool_->Command(std::vector<absl::string_view>(names.begin(), names.end()));
    if (reply.ok() && reply->elements.size() != some.size())
      reply = absl::InternalError("MGET gave another number of values");
    for (size_t i = 0; i < some.size(); ++i) {
      if (!reply.ok()) {
        records.push_back(reply.status());
      } else if (reply->elements[i].kind == RedisReply::Kind::kNil) {
        records.push_back(store_errors::NoRecord(some[i]));
      } else {
        records.push_back(std::move(reply->elements[i].text));
      }
    }
  }
  return records;
}

absl::Status RedisRecordStore::Ping() { return pool_->Command({"PING"}).status(); }

}  // namespace merganser

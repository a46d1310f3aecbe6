// What a worker may do with a Redis store: create result records.
#ifndef MERGANSER_COMMON_STORE_REDIS_REDIS_RECORD_STORE_H_
#define MERGANSER_COMMON_STORE_REDIS_REDIS_RECORD_STORE_H_

#include <memory>
#include <string>

#include "common/store/redis/redis_pool.h"
#include "common/store/results_store.h"

namespace merganser {

// Needs no more than the worker's ACL user has: SETNX on PREFIXresult:*.
//
// That user may not read. So when the key exists and the server refuses GET, PutRecord cannot tell
// its own repeated write from another's and returns OK: the token in the key belongs to this
// attempt alone, and the coordinator checks the record's sha256 anyway. GetRecord is
// PermissionDenied for that user.
//
// Thread-safe.
class RedisRecordStore final : public RecordStore {
 public:
  explicit RedisRecordStore(std::shared_ptr<RedisPool> pool) : pool_(std::move(pool)) {}

  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override;
  absl::StatusOr<std::string> GetRecord(const std::string& key) override;
  std::vector<absl::StatusOr<std::string>> GetRecords(absl::Span<const std::string> keys) override;

  // OK if the server is there and accepts the login.
  absl::Status Ping();

 private:
  const std::shared_ptr<RedisPool> pool_;  // shared with the RedisStore that owns this object, if one does
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_REDIS_RECORD_STORE_H_

// The results store of a fleet: one Redis server (7.0 or newer, standalone) with an append-only
// file.
#ifndef MERGANSER_COMMON_STORE_REDIS_REDIS_STORE_H_
#define MERGANSER_COMMON_STORE_REDIS_REDIS_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "common/store/redis/redis_pool.h"
#include "common/store/redis/redis_record_store.h"
#include "common/store/results_store.h"

namespace merganser {

// Each write is one function of functions.lua, atomic on the server, or one SETNX. Leases run by
// the server's clock. Every call survives a restart of the server that takes no longer than
// RedisOptions::give_up.
//
// "Durable when it returns OK" holds with `appendfsync always` (deploy/redis/redis.conf); Redis
// decides.
//
// Thread-safe.
class RedisStore final : public ResultsStore {
 public:
  // Loads the function library where it is missing or older. `read_only` needs no more than @read;
  // every write is then FailedPrecondition. Unavailable: away. FailedPrecondition: a newer schema,
  // or a server older than 7.0. Unauthenticated, PermissionDenied: the login.
  static absl::StatusOr<std::unique_ptr<RedisStore>> Open(const RedisOptions& options, bool read_only = false);

  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override;
  absl::StatusOr<std::string> GetRecord(const std::string& key) override;
  std::vector<absl::StatusOr<std::string>> GetRecords(absl::Span<const std::string> keys) override;
  absl::StatusOr<int64_t> Lead(const std::string& holder, absl::Duration lease) override;
  absl::Status RenewLead(int64_t epoch, absl::Duration lease) override;
  absl::Status ReleaseLead(int64_t epoch) override;
  absl::StatusOr<std::string> CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                        absl::string_view spec) override;
  absl::StatusOr<std::vector<StoredJob>> ListJobs() override;
  absl::Status Append(int64_t epoch, const std::string& job_id, int64_t expected_seq, absl::Span<const std::string> events,
                      absl::Span<const std::string> required_records = {}) override;
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(const std::string& job_id, int64_t after_seq, int64_t limit) override;
  absl::Status PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) override;
  absl::StatusOr<std::optional<StoredSnapshot>> GetSnapshot(const std::string& job_id) override;
  absl::Status PutFleet(int64_t epoch, absl::string_view body) override;
  absl::StatusOr<std::string> GetFleet() override;
  std::string uri() const override { return pool_->options().Display(); }

 private:
  RedisStore(std::shared_ptr<RedisPool> pool, bool read_only)
      : pool_(std::move(pool)), read_only_(read_only), records_(pool_) {}

  absl::Status CheckSchema();
  absl::Status LoadLibrary();
  absl::Status CheckWritable() const;
  // Calls a function of the library, loading it first if the server has lost it. The answer's
  // words; never empty.
  absl::StatusOr<std::vector<std::string>> Call(absl::string_view function, const std::vector<std::string>& keys,
                                                absl::Span<const absl::string_view> args);
  std::string JobKey(absl::string_view job_id, absl::string_view what) const;
  absl::Status CheckJob(const std::string& job_id);

  // Constant after construction.
  const std::shared_ptr<RedisPool> pool_;  // shared with records_
  const bool read_only_;

  RedisRecordStore records_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_REDIS_STORE_H_

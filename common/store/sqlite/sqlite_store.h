// The results store of one machine: a SQLite file in WAL mode, every commit fsynced.
#ifndef MERGANSER_COMMON_STORE_SQLITE_SQLITE_STORE_H_
#define MERGANSER_COMMON_STORE_SQLITE_SQLITE_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/store/results_store.h"
#include "common/store/sqlite/lock_file.h"
#include "common/store/sqlite/sqlite_connection.h"

namespace merganser {

struct SqliteOptions {
  // Opens beside a running writer, without its lock; every write is FailedPrecondition.
  bool read_only = false;
  // How long a statement waits for another process's lock (a backup, a sqlite3 shell).
  absl::Duration busy_timeout = absl::Seconds(5);
  // Upper bound of the file in pages of 4 KiB; 0: the disk's.
  int64_t pages_max = 0;
  // For leases (Monotonic) and job times (Now); outlives the store.
  const Clock* clock = &Clock::Real();
};

// One writer process at a time, by a lock on PATH.lock for the store's whole life. So whoever led
// before is gone when this store opens: the epoch survives a restart, the lease does not, and a
// successor need not wait.
//
// Thread-safe: writes go one after another through one connection, reads beside them through a
// second one.
class SqliteStore final : public ResultsStore {
 public:
  // Creates the file unless read-only. FailedPrecondition: another process writes it (the message
  // names it), a newer schema, another program's database, a network file system. DataLoss: not a
  // database. NotFound: no such folder, or no such file and read-only.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path, const SqliteOptions& options = {});

  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override;
  absl::StatusOr<std::string> GetRecord(const std::string& key) override;
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
  std::string uri() const override;

 private:
  SqliteStore(std::string path, const SqliteOptions& options, std::unique_ptr<LockFile> lock)
      : path_(std::move(path)), options_(options), lock_(std::move(lock)) {}

  absl::Status OpenWriter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  absl::Status CheckWritable() const;
  absl::StatusOr<int64_t> Epoch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  absl::Status CheckEpoch(int64_t epoch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  // The body of Append, within its transaction. True: something was inserted.
  absl::StatusOr<bool> AppendInTransaction(int64_t epoch, const std::string& job_id, int64_t expected_seq,
                                           absl::Span<const std::string> events,
                                           absl::Span<const std::string> required_records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);

  // Constant after construction.
  const std::string path_;
  const SqliteOptions options_;
  const std::unique_ptr<LockFile> lock_;  // null if read-only; outlives the connections

  // Never held together.
  absl::Mutex writer_mu_;
  absl::Mutex reader_mu_;
  std::unique_ptr<SqliteConnection> writer_ ABSL_GUARDED_BY(writer_mu_);  // null if read-only
  std::unique_ptr<SqliteConnection> reader_ ABSL_GUARDED_BY(reader_mu_);
  std::string holder_ ABSL_GUARDED_BY(writer_mu_);
  absl::Duration lease_end_ ABSL_GUARDED_BY(writer_mu_) = -absl::InfiniteDuration();
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_SQLITE_SQLITE_STORE_H_

#include "common/store/sqlite/sqlite_store.h"

#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/store/sqlite/sqlite_schema.h"
#include "common/store/store_errors.h"

namespace merganser {
namespace {

using Blob = SqliteConnection::Blob;
using Row = SqliteConnection::Row;

constexpr absl::Duration kRequestKept = absl::Hours(24);

// The row id behind "job-7", or 0 (no row has it).
int64_t RowOf(absl::string_view job_id) {
  int64_t row = 0;
  if (!absl::ConsumePrefix(&job_id, "job-") || !absl::SimpleAtoi(job_id, &row)) return 0;
  return absl::StrCat(row) == job_id ? std::max<int64_t>(row, 0) : 0;  // not "job-07"
}

std::string IdOf(int64_t row) { return absl::StrCat("job-", row); }

absl::StatusOr<bool> HasJob(SqliteConnection& connection, int64_t row) {
  bool found = false;
  MG_RETURN_IF_ERROR(connection.Run("SELECT 1 FROM job WHERE id = ?1", {row}, [&](const Row&) { found = true; }));
  return found;
}

absl::Status CheckFileSystem(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  struct statfs info;
  if (statfs(folder.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot open folder", folder);
  return CheckLocalFileSystem(path, static_cast<int64_t>(info.f_type));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path, const SqliteOptions& options) {
  MG_RETURN_IF_ERROR(CheckFileSystem(path));
  std::unique_ptr<LockFile> lock;
  if (options.read_only) {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "no results store at", path);
  } else {
    MG_ASSIGN_OR_RETURN(lock, LockFile::Acquire(path + ".lock", absl::StrCat("sqlite:", path), options.clock->Now()));
  }
  std::unique_ptr<SqliteStore> store(new SqliteStore(path, options, std::move(lock)));
  if (!options.read_only) {
    absl::MutexLock writer(&store->writer_mu_);
    MG_RETURN_IF_ERROR(store->OpenWriter());
  }
  absl::MutexLock reader(&store->reader_mu_);
  MG_ASSIGN_OR_RETURN(store->reader_, SqliteConnection::Open(path, /*read_only=*/true, options.busy_timeout));
  MG_ASSIGN_OR_RETURN(const bool empty, SqliteDatabaseIsEmpty(*store->reader_, path));
  if (empty) {
    return absl::FailedPreconditionError(absl::StrCat("sqlite:", path, ": holds no results store"));
  }
  return store;
}

absl::Status SqliteStore::OpenWriter() {
  MG_ASSIGN_OR_RETURN(writer_, SqliteConnection::Open(path_, /*read_only=*/false, options_.busy_timeout));
  // Before anything is written into what may be another program's file.
  MG_ASSIGN_OR_RETURN(const bool empty, SqliteDatabaseIsEmpty(*writer_, path_));
  std::string mode;
  MG_RETURN_IF_ERROR(writer_->Run("PRAGMA journal_mode = WAL", {}, [&](const Row& row) { mode = row.Bytes(0); }));
  if (mode != "wal") {
    return absl::FailedPreconditionError(
        absl::StrCat("sqlite:", path_, ": journal mode is '", mode, "', not WAL, on this file system"));
  }
  // FULL: fsync at every commit, so that what was acked survives a power loss. A checkpoint may
  // leave at most this much of WAL behind (64 MiB, one record of the largest size).
  MG_RETURN_IF_ERROR(writer_->Run("PRAGMA synchronous = FULL"));
  MG_RETURN_IF_ERROR(writer_->Run("PRAGMA journal_size_limit = 67108864"));
  if (options_.pages_max > 0) {
    MG_RETURN_IF_ERROR(writer_->Run(absl::StrCat("PRAGMA max_page_count = ", options_.pages_max)));
  }
  if (!empty) return absl::OkStatus();
  SqliteTransaction transaction(*writer_);
  MG_RETURN_IF_ERROR(transaction.Begin());
  MG_RETURN_IF_ERROR(CreateSqliteSchema(*writer_));
  return transaction.Commit();
}

std::string SqliteStore::uri() const { return absl::StrCat("sqlite:", path_); }

absl::Status SqliteStore::CheckWritable() const {
  if (!options_.read_only) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(uri(), ": is open for reading only"));
}

absl::StatusOr<int64_t> SqliteStore::Epoch() {
  int64_t epoch = 0;
  MG_RETURN_IF_ERROR(
      writer_->Run("SELECT value FROM meta WHERE name = 'epoch'", {}, [&](const Row& row) { epoch = row.Int(0); }));
  return epoch;
}

absl::Status SqliteStore::CheckEpoch(int64_t epoch) {
  MG_ASSIGN_OR_RETURN(const int64_t current, Epoch());
  if (epoch > 0 && epoch == current) return absl::OkStatus();
  return store_errors::StaleEpoch(epoch, current);
}

absl::Status SqliteStore::PutRecord(const std::string& key, absl::string_view bytes) {
  MG_RETURN_IF_ERROR(CheckWritable());
  MG_RETURN_IF_ERROR(store_errors::CheckRecordSize(key, bytes));
  absl::MutexLock lock(&writer_mu_);
  MG_RETURN_IF_ERROR(
      writer_->Run("INSERT INTO result VALUES(?1, ?2) ON CONFLICT DO NOTHING", {absl::string_view(key), Blob{bytes}}));
  if (writer_->changes() == 1) return absl::OkStatus();
  bool equal = false;
  MG_RETURN_IF_ERROR(writer_->Run("SELECT body FROM result WHERE key = ?1", {absl::string_view(key)},
                                  [&](const Row& row) { equal = row.Bytes(0) == bytes; }));
  return equal ? absl::OkStatus() : store_errors::RecordDiffers(key);
}

absl::StatusOr<std::string> SqliteStore::GetRecord(const std::string& key) {
  std::optional<std::string> bytes;
  absl::MutexLock lock(&reader_mu_);
  MG_RETURN_IF_ERROR(reader_->Run("SELECT body FROM result WHERE key = ?1", {absl::string_view(key)},
                                  [&](const Row& row) { bytes = row.Bytes(0); }));
  if (!bytes) return store_errors::NoRecord(key);
  return *std::move(bytes);
}

absl::StatusOr<int64_t> SqliteStore::Lead(const std::string& holder, absl::Duration lease) {
  MG_RETURN_IF_ERROR(CheckWritable());
  absl::MutexLock lock(&writer_mu_);
  const absl::Duration now = options_.clock->Monotonic();
  if (now < lease_end_) return store_errors::HeldBy(holder_, lease_end_ - now);
  SqliteTransaction transaction(*writer_);
  MG_RETURN_IF_ERROR(transaction.Begin());
  MG_ASSIGN_OR_RETURN(const int64_t epoch, Epoch());
  MG_RETURN_IF_ERROR(writer_->Run("UPDATE meta SET value = ?1 WHERE name = 'epoch'", {epoch + 1}));
  MG_RETURN_IF_ERROR(writer_->Run("UPDATE meta SET value = ?1 WHERE name = 'holder'", {absl::string_view(holder)}));
  MG_RETURN_IF_ERROR(transaction.Commit());
  holder_ = holder;
  lease_end_ = now + lease;
  return epoch + 1;
}

absl::Status SqliteStore::RenewLead(int64_t epoch, absl::Duration lease) {
  MG_RETURN_IF_ERROR(CheckWritable());
  absl::MutexLock lock(&writer_mu_);
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  lease_end_ = options_.clock->Monotonic() + lease;
  return absl::OkStatus();
}

absl::Status SqliteStore::ReleaseLead(int64_t epoch) {
  MG_RETURN_IF_ERROR(CheckWritable());
  absl::MutexLock lock(&writer_mu_);
  const absl::Status leads = CheckEpoch(epoch);
  if (leads.ok()) lease_end_ = -absl::InfiniteDuration();
  return absl::IsAborted(leads) ? absl::OkStatus() : leads;
}

absl::StatusOr<std::string> SqliteStore::CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                                   absl::string_view spec) {
  MG_RETURN_IF_ERROR(CheckWritable());
  absl::MutexLock lock(&writer_mu_);
  SqliteTransaction transaction(*writer_);
  MG_RETURN_IF_ERROR(transaction.Begin());
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  const int64_t now = absl::ToUnixMicros(options_.clock->Now());
  MG_RETURN_IF_ERROR(
      writer_->Run("DELETE FROM request WHERE create_us <= ?1", {now - absl::ToInt64Microseconds(kRequestKept)}));
  int64_t row = 0;
  MG_RETURN_IF_ERROR(writer_->Run("SELECT job FROM request WHERE id = ?1", {absl::string_view(request_id)},
                                  [&](const Row& r) { row = r.Int(0); }));
  if (row == 0) {
    MG_RETURN_IF_ERROR(writer_->Run("INSERT INTO job(name, spec, create_us) VALUES(?1, ?2, ?3)",
                                    {absl::string_view(name), Blob{spec}, now}));
    row = writer_->last_row_id();
    if (!request_id.empty()) {
      MG_RETURN_IF_ERROR(writer_->Run("INSERT INTO request VALUES(?1, ?2, ?3)", {absl::string_view(request_id), row, now}));
    }
  }
  MG_RETURN_IF_ERROR(transaction.Commit());
  return IdOf(row);
}

absl::StatusOr<std::vector<StoredJob>> SqliteStore::ListJobs() {
  std::vector<StoredJob> jobs;
  absl::MutexLock lock(&reader_mu_);
  MG_RETURN_IF_ERROR(reader_->Run("SELECT id, name, spec, create_us FROM job ORDER BY id", {}, [&](const Row& row) {
    jobs.push_back({IdOf(row.Int(0)), row.Bytes(1), row.Bytes(2), absl::FromUnixMicros(row.Int(3))});
  }));
  return jobs;
}

absl::Status SqliteStore::Append(int64_t epoch, const std::string& job_id, int64_t expected_seq,
                                 absl::Span<const std::string> events, absl::Span<const std::string> required_records) {
  MG_RETURN_IF_ERROR(CheckWritable());
  absl::MutexLock lock(&writer_mu_);
  SqliteTransaction transaction(*writer_);
  MG_RETURN_IF_ERROR(transaction.Begin());
  MG_ASSIGN_OR_RETURN(const bool inserted, AppendInTransaction(epoch, job_id, expected_seq, events, required_records));
  return inserted ? transaction.Commit() : absl::OkStatus();
}

absl::StatusOr<bool> SqliteStore::AppendInTransaction(int64_t epoch, const std::string& job_id, int64_t expected_seq,
                                                      absl::Span<const std::string> events,
                                                      absl::Span<const std::string> required_records) {
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  const int64_t job = RowOf(job_id);
  MG_ASSIGN_OR_RETURN(const bool known, HasJob(*writer_, job));
  if (!known) return store_errors::NoJob(job_id);
  int64_t end = 0;
  MG_RETURN_IF_ERROR(writer_->Run("SELECT coalesce(max(seq), 0) FROM event WHERE job = ?1", {job},
                                  [&](const Row& row) { end = row.Int(0); }));
  if (expected_seq < 0 || expected_seq > end) {
    return store_errors::BeyondLog(job_id, expected_seq, end);
  }
  const auto count = static_cast<int64_t>(events.size());
  if (expected_seq < end) {
    int64_t i = 0;
    bool repeat = expected_seq + count <= end;
    MG_RETURN_IF_ERROR(writer_->Run("SELECT body FROM event WHERE job = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq",
                                    {job, expected_seq, expected_seq + count},
                                    [&](const Row& row) { repeat = repeat && row.Bytes(0) == events[i++]; }));
    if (!repeat) return store_errors::LogConflict(job_id, expected_seq, end);
    return false;
  }
  for (const std::string& required : required_records) {
    bool found = false;
    MG_RETURN_IF_ERROR(writer_->Run("SELECT 1 FROM result WHERE key = ?1", {absl::string_view(required)},
                                    [&](const Row&) { found = true; }));
    if (!found) return store_errors::RequiredRecordAbsent(required);
  }
  for (int64_t i = 0; i < count; ++i) {
    MG_RETURN_IF_ERROR(writer_->Run("INSERT INTO event VALUES(?1, ?2, ?3)", {job, expected_seq + i + 1, Blob{events[i]}}));
  }
  return count > 0;
}

absl::StatusOr<std::vector<StoredEvent>> SqliteStore::ReadEvents(const std::string& job_id, int64_t after_seq,
                                                                 int64_t limit) {
  const int64_t job = RowOf(job_id);
  std::vector<StoredEvent> events;
  absl::MutexLock lock(&reader_mu_);
  const absl::Status read = reader_->Run("SELECT seq, body FROM event WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                                         {job, after_seq, std::max<int64_t>(limit, 0)}, [&](const Row& row) {
                                           events.push_back({row.Int(0), row.Bytes(1)});
                                         });
  if (absl::IsDataLoss(read) && !events.empty()) return events;  // the torn page is behind them
  MG_RETURN_IF_ERROR(read);
  if (events.empty()) {
    MG_ASSIGN_OR_RETURN(const bool known, HasJob(*reader_, job));
    if (!known) return store_errors::NoJob(job_id);
  }
  return events;
}

absl::Status SqliteStore::PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) {
  MG_RETURN_IF_ERROR(CheckWritable());
  const int64_t job = RowOf(job_id);
  absl::MutexLock lock(&writer_mu_);
  SqliteTransaction transaction(*writer_);
  MG_RETURN_IF_ERROR(transaction.Begin());
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  MG_ASSIGN_OR_RETURN(const bool known, HasJob(*writer_, job));
  if (!known) return store_errors::NoJob(job_id);
  MG_RETURN_IF_ERROR(
      writer_->Run("INSERT INTO snapshot VALUES(?1, ?2, ?3) ON CONFLICT(job) DO UPDATE "
                   "SET seq = excluded.seq, body = excluded.body WHERE excluded.seq > snapshot.seq",
                   {job, snapshot.seq, Blob{snapshot.body}}));
  return transaction.Commit();
}

absl::StatusOr<std::optional<StoredSnapshot>> SqliteStore::GetSnapshot(const std::string& job_id) {
  const int64_t job = RowOf(job_id);
  std::optional<StoredSnapshot> snapshot;
  absl::MutexLock lock(&reader_mu_);
  MG_RETURN_IF_ERROR(reader_->Run("SELECT seq, body FROM snapshot WHERE job = ?1", {job}, [&](const Row& row) {
    snapshot = StoredSnapshot{row.Int(0), row.Bytes(1)};
  }));
  if (!snapshot) {
    MG_ASSIGN_OR_RETURN(const bool known, HasJob(*reader_, job));
    if (!known) return store_errors::NoJob(job_id);
  }
  return snapshot;
}

absl::Status SqliteStore::PutFleet(int64_t epoch, absl::string_view body) {
  MG_RETURN_IF_ERROR(CheckWritable());
  MG_RETURN_IF_ERROR(store_errors::CheckRecordSize("fleet", body));
  absl::MutexLock lock(&writer_mu_);
  SqliteTransaction transaction(*writer_);
  MG_RETURN_IF_ERROR(transaction.Begin());
  MG_RETURN_IF_ERROR(CheckEpoch(epoch));
  MG_RETURN_IF_ERROR(writer_->Run(
      "INSERT INTO meta VALUES('fleet', ?1) ON CONFLICT(name) DO UPDATE SET value = excluded.value", {Blob{body}}));
  return transaction.Commit();
}

absl::StatusOr<std::string> SqliteStore::GetFleet() {
  std::string body;
  absl::MutexLock lock(&reader_mu_);
  MG_RETURN_IF_ERROR(
      reader_->Run("SELECT value FROM meta WHERE name = 'fleet'", {}, [&](const Row& row) { body = row.Bytes(0); }));
  return body;
}

}  // namespace merganser

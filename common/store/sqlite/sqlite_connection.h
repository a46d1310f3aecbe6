// One SQLite connection: prepared statements by their text, transactions, SQLite's codes as Status.
#ifndef MERGANSER_COMMON_STORE_SQLITE_SQLITE_CONNECTION_H_
#define MERGANSER_COMMON_STORE_SQLITE_SQLITE_CONNECTION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace merganser {

// Not thread-safe: its owner guards it.
//
// Errors of all methods, each with "sqlite:PATH: " in front: ResourceExhausted (disk, or the page
// bound, full; out of memory), DataLoss (not a database, or damaged), Unavailable (busy beyond the
// timeout, I/O error), PermissionDenied, NotFound (cannot open), Internal (a wrong statement).
class SqliteConnection {
 public:
  // The two kinds of bytes that a column holds: text for names and keys, blobs for bodies.
  struct Blob {
    absl::string_view bytes;
  };
  using Value = std::variant<int64_t, absl::string_view, Blob>;

  // A result row; valid during the callback only.
  class Row {
   public:
    explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
    int64_t Int(int column) const;
    // Text or blob; "" for NULL.
    std::string Bytes(int column) const;

   private:
    sqlite3_stmt* statement_;
  };

  // Opens `path`, creating it unless `read_only`. Statements wait up to `busy_timeout` for another
  // process's lock.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path, bool read_only,
                                                                absl::Duration busy_timeout);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Runs one statement to its end, with `values` for its ?1, ?2, ...; `on_row` sees each row.
  absl::Status Run(const std::string& sql, const std::vector<Value>& values = {});
  absl::Status Run(const std::string& sql, const std::vector<Value>& values, absl::FunctionRef<void(const Row&)> on_row);

  // Rows that the last insert, update or delete changed.
  int64_t changes() const;
  // Row id of the last insert.
  int64_t last_row_id() const;
  bool in_transaction() const;

 private:
  SqliteConnection(std::string path, sqlite3* db) : path_(std::move(path)), db_(db) {}
  absl::Status Error(int code) const;
  absl::StatusOr<sqlite3_stmt*> Prepare(const std::string& sql);

  const std::string path_;
  sqlite3* const db_;
  std::map<std::string, sqlite3_stmt*> statements_;
};

// A write transaction: undone when it goes out of scope without Commit.
class SqliteTransaction {
 public:
  explicit SqliteTransaction(SqliteConnection& connection) : connection_(connection) {}
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;

  // Takes the write lock.
  absl::Status Begin() { return connection_.Run("BEGIN IMMEDIATE"); }
  // Durable once this returns OK.
  absl::Status Commit() { return connection_.Run("COMMIT"); }

 private:
  SqliteConnection& connection_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_SQLITE_SQLITE_CONNECTION_H_

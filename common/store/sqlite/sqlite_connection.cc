#include "common/store/sqlite/sqlite_connection.h"

#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

absl::StatusCode CodeOf(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_PROTOCOL:
      return absl::StatusCode::kUnavailable;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kNotFound;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::string_view HintFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kDataLoss:
      return "; the file is damaged or is not a database: restore it from a backup";
    case absl::StatusCode::kResourceExhausted:
      return "; free space and repeat";
    default:
      return "";
  }
}

}  // namespace

int64_t SqliteConnection::Row::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string SqliteConnection::Row::Bytes(int column) const {
  // Bytes after the pointer: column_blob may convert, and only then is the length final.
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path, bool read_only,
                                                                         absl::Duration busy_timeout) {
  sqlite3* db = nullptr;
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  // SQLite hands out a handle for the error text even when it could not open.
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(path, db));
  if (code != SQLITE_OK) return connection->Error(code);
  sqlite3_busy_timeout(db, static_cast<int>(absl::ToInt64Milliseconds(busy_timeout)));
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

absl::Status SqliteConnection::Error(int code) const {
  const absl::StatusCode status = CodeOf(code);
  const char* text = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  return absl::Status(status, absl::StrCat("sqlite:", path_, ": ", text, HintFor(status)));
}

absl::StatusOr<sqlite3_stmt*> SqliteConnection::Prepare(const std::string& sql) {
  if (const auto it = statements_.find(sql); it != statements_.end()) return it->second;
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(db_, sql.c_str(), static_cast<int>(sql.size()) + 1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code);
  statements_[sql] = statement;
  return statement;
}

absl::Status SqliteConnection::Run(const std::string& sql, const std::vector<Value>& values) {
  return Run(sql, values, [](const Row&) {});
}

absl::Status SqliteConnection::Run(const std::string& sql, const std::vector<Value>& values,
                                   absl::FunctionRef<void(const Row&)> on_row) {
  MG_ASSIGN_OR_RETURN(sqlite3_stmt * statement, Prepare(sql));
  int code = SQLITE_OK;
  for (int i = 0; i < static_cast<int>(values.size()) && code == SQLITE_OK; ++i) {
    const Value& value = values[i];
    // STATIC: the views outlive this call, and the bindings are cleared below. A null pointer would
    // bind NULL.
    if (const auto* number = std::get_if<int64_t>(&value)) {
      code = sqlite3_bind_int64(statement, i + 1, *number);
    } else if (const auto* text = std::get_if<absl::string_view>(&value)) {
      code =
          sqlite3_bind_text64(statement, i + 1, text->empty() ? "" : text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    } else {
      const absl::string_view bytes = std::get<Blob>(value).bytes;
      code = sqlite3_bind_blob64(statement, i + 1, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
    }
  }
  if (code == SQLITE_OK) {
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) on_row(Row(statement));
  }
  const absl::Status status = code == SQLITE_OK || code == SQLITE_DONE ? absl::OkStatus() : Error(code);
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

int64_t SqliteConnection::changes() const { return sqlite3_changes(db_); }

int64_t SqliteConnection::last_row_id() const { return sqlite3_last_insert_rowid(db_); }

bool SqliteConnection::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

SqliteTransaction::~SqliteTransaction() {
  // A failed statement may have rolled back already. Nothing can be done about a rollback that
  // fails; the connection's next BEGIN reports it.
  if (connection_.in_transaction()) connection_.Run("ROLLBACK").IgnoreError();
}

}  // namespace merganser

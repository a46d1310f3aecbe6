#include "common/store/sqlite/sqlite_schema.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {

absl::Status CreateSqliteSchema(SqliteConnection& connection) {
  for (const char* sql : {
           "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID",
           // AUTOINCREMENT: an id is never used again.
           "CREATE TABLE job(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
           "spec BLOB NOT NULL, create_us INTEGER NOT NULL)",
           "CREATE TABLE event(job INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, "
           "PRIMARY KEY(job, seq)) WITHOUT ROWID",
           "CREATE TABLE result(key TEXT PRIMARY KEY, body BLOB NOT NULL)",
           "CREATE TABLE snapshot(job INTEGER PRIMARY KEY, seq INTEGER NOT NULL, "
           "body BLOB NOT NULL)",
           "CREATE TABLE request(id TEXT PRIMARY KEY, job INTEGER NOT NULL, "
           "create_us INTEGER NOT NULL) WITHOUT ROWID",
           "INSERT INTO meta VALUES('epoch', 0), ('holder', '')",
       }) {
    MG_RETURN_IF_ERROR(connection.Run(sql));
  }
  return connection.Run("INSERT INTO meta VALUES('schema', ?1)", {kSqliteSchemaVersion});
}

absl::StatusOr<bool> SqliteDatabaseIsEmpty(SqliteConnection& connection, const std::string& path) {
  int64_t objects = 0, ours = 0;
  MG_RETURN_IF_ERROR(
      connection.Run("SELECT count(*), coalesce(sum(name IN ('meta', 'job', 'event', 'result')), 0) "
                     "FROM sqlite_master WHERE type = 'table'",
                     {}, [&](const SqliteConnection::Row& row) {
                       objects = row.Int(0);
                       ours = row.Int(1);
                     }));
  if (objects == 0) return true;
  if (ours != 4) {
    return absl::FailedPreconditionError(absl::StrCat("sqlite:", path, ": is a database of another program"));
  }
  int64_t version = 0;
  MG_RETURN_IF_ERROR(connection.Run("SELECT value FROM meta WHERE name = 'schema'", {},
                                    [&](const SqliteConnection::Row& row) { version = row.Int(0); }));
  if (version > kSqliteSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat("sqlite:", path, ": has schema version ", version,
                                                      "; this build knows versions up to ", kSqliteSchemaVersion));
  }
  return false;
}

}  // namespace merganser

// The tables of the SQLite store and their version (common/store/README.md describes them).
#ifndef MERGANSER_COMMON_STORE_SQLITE_SQLITE_SCHEMA_H_
#define MERGANSER_COMMON_STORE_SQLITE_SQLITE_SCHEMA_H_

#include <string>

#include "absl/status/status.h"
#include "common/store/sqlite/sqlite_connection.h"

namespace merganser {

inline constexpr int64_t kSqliteSchemaVersion = 1;

// Creates the tables in an empty database. Run within a transaction.
absl::Status CreateSqliteSchema(SqliteConnection& connection);

// True if the database is empty, false if it holds our tables in a version that this build knows.
// FailedPrecondition: another program's database, or a newer version (the message has both).
absl::StatusOr<bool> SqliteDatabaseIsEmpty(SqliteConnection& connection, const std::string& path);

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_SQLITE_SQLITE_SCHEMA_H_

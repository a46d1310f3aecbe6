// The store behind a URI: memory:, sqlite:PATH,
// redis://[user:password@]HOST[:PORT][/DB][?prefix=mg:&password_file=PATH].
#ifndef MERGANSER_COMMON_STORE_OPEN_STORE_H_
#define MERGANSER_COMMON_STORE_OPEN_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/store/results_store.h"

namespace merganser {

struct OpenStoreOptions {
  // For readers beside a running writer: every write is FailedPrecondition.
  bool read_only = false;
  // For leases and job times of memory: and sqlite: (redis: goes by its server's); outlives the
  // store.
  const Clock* clock = &Clock::Real();
};

// The whole store, for coordinators, `run` and readers. InvalidArgument: a URI that names no store
// (the message lists what there is, and never holds a password). Else as the store's Open:
// Unavailable (Redis away), FailedPrecondition (the SQLite file is another process's, or the schema
// is newer), NotFound, Unauthenticated, PermissionDenied, DataLoss.
absl::StatusOr<std::unique_ptr<ResultsStore>> OpenStore(const std::string& uri, const OpenStoreOptions& options = {});

// The part of a store that a worker in a process of its own uses: redis:// only (InvalidArgument
// else; the embedded worker of `run` gets its process's ResultsStore). It logs in at once, so that
// a wrong password shows at the start.
absl::StatusOr<std::unique_ptr<RecordStore>> OpenRecordStore(const std::string& uri);

// What a store says of its way to the disk.
struct StorePersistence {
  // Writes to the append-only file that waited for an fsync in progress, since the server began. A
  // server with `appendfsync always` waits for each fsync and counts none.
  int64_t delayed_fsyncs = 0;
};

// A question to the store's server, over a connection of its own that is given two seconds and no
// second try; empty for stores that no server keeps, and for a URI that names none. Not
// thread-safe. Errors: Unavailable, PermissionDenied (a user without +info), Internal (an answer
// without that count).
std::function<absl::StatusOr<StorePersistence>()> OpenPersistenceProbe(const std::string& uri);

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_OPEN_STORE_H_

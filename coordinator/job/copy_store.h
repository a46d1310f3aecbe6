// Copies a results store into another one: what `merganser store backup`, `restore` and `migrate` do.
#ifndef MERGANSER_COORDINATOR_JOB_COPY_STORE_H_
#define MERGANSER_COORDINATOR_JOB_COPY_STORE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/events.h"
#include "common/store/results_store.h"

namespace merganser {

struct CopyStoreOptions {
  // Where a job's log is damaged, copy what comes before the damage; off: such a log is DataLoss.
  bool salvage = false;
  // An older copy of `from`, or null: what it has of a log that is damaged in `from` is taken from it, and what follows from
  // `from` again where it fits. Damaged are events that cannot be read, do not fit, or are other than in the copy (an
  // acknowledged event stays what it is), records without the logged SHA-256, and specs that cannot be read. Used with
  // `salvage`.
  ResultsStore* backup = nullptr;
  // Told after each page of events; may be null.
  std::function<void(const std::string& job_id, int64_t events)> on_progress;
};

struct CopyStoreReport {
  int64_t jobs = 0;
  int64_t events = 0;
  int64_t records = 0;
  std::vector<std::string> damage;  // salvage: what was left out, a line each
  std::vector<std::string> mended;  // what came from the backup, a line each
};

// Copies every job with its log, and the record of every attempt that a log names (those of attempts that no log names count
// for nothing and are left behind). Bytes stay as they are, so replaying the copy gives the same jobs; job ids stay, the
// times at which jobs were created in the store do not (a job's own times are in its log).
//
// `to` must be empty or hold the beginning of such a copy, which is then finished: an interrupted copy is repeated.
// FailedPrecondition naming the job if it holds anything else; Unavailable naming the holder while a coordinator leads
// there. DataLoss names job and event. `from` may be written by a leader meanwhile: what is appended after its log was read
// is missed.
absl::StatusOr<CopyStoreReport> CopyStore(ResultsStore* from, ResultsStore* to, const JobCodec& codec,
                                          const CopyStoreOptions& options = {});

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_COPY_STORE_H_

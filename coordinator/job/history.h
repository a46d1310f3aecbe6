// Checks what a store says of a job against what the design promises: one checker for the simulation, the chaos tests and
// `merganser store verify`.
//
//   I1   A candidate has at most one terminal event.
//   I2   Every acknowledged result is in the log, and its record in the store.
//   I3   Every generation is told to the optimizer complete and in order: the next one is logged only once all candidates
//        of the one before are finished. (Rolling searches have no such barrier.)
//   I4   The optimizer's proposals never exceed the budget, and reach it where a job succeeds by it.
//   I6   No candidate has more counted attempts than the job allows.
//   I8   The log replays: no gap, no event that does not fit.
//   I10  Where the caller says that nothing is left to do, the job is over.
//   I12  Every committed result has its record: that of the logged attempt, with its token and the logged SHA-256.
//
// What only a running system shows (I5 leases, I7 epochs, I9 who gets what, I11 same seed, same best) is checked by the
// simulation itself.
#ifndef MERGANSER_COORDINATOR_JOB_HISTORY_H_
#define MERGANSER_COORDINATOR_JOB_HISTORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/events.h"
#include "common/store/results_store.h"

namespace merganser {

// A promise that was not kept.
struct HistoryFinding {
  std::string invariant;  // "I1"
  std::string job_id;
  int64_t seq = 0;  // of the event that shows it; 0: the job as a whole
  std::string message;
  bool operator==(const HistoryFinding&) const = default;
};

// "I12 job-3 event 41: ...".
std::string ToString(const HistoryFinding& finding);

// A report that was answered with kCommitted, as its sender remembers it.
struct AckedResult {
  std::string job_id;
  int64_t candidate = 0;
  std::string record_key;
};

struct HistoryOptions {
  std::vector<AckedResult> acked;  // I2; those of other jobs are skipped
  bool must_be_over = false;       // I10
  // Read every record and compare its sha256 (I12); off: only the log is read.
  bool records = true;
};

struct HistoryReport {
  std::vector<HistoryFinding> findings;
  int64_t events = 0;   // of the log, those that replay
  int64_t results = 0;  // committed
  int64_t records = 0;  // read and found good
  bool over = false;
};

// Reads the job's whole log. Errors are those of the store; whatever is wrong with the history is a
// finding. The check of a log stops at the first event that does not replay (I8).
absl::StatusOr<HistoryReport> CheckHistory(ResultsStore* store, const JobCodec& codec, const StoredJob& job,
                                           const HistoryOptions& options = {});

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_HISTORY_H_

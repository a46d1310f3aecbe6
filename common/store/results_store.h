// The results store: the job log (events), result records and optimizer snapshots. Three implementations (memory/,
// sqlite/, redis/), one contract (tests/contracts/results_store_contract.cc). common/store/README.md has the schema.
//
// Two kinds of writer. The leading coordinator owns everything but records: each of its writes carries the epoch it leads
// under and is refused once another leads. Workers create records, once each, and nothing else (RecordStore).
//
// Every write is durable when it returns OK. After Unavailable its fate is unknown: repeat it, all writes are idempotent.
//
// Threading: all methods, any thread. Errors beyond those named: Unavailable (store away; retry), ResourceExhausted (store
// or disk full), DataLoss (stored bytes are damaged).
#ifndef MERGANSER_COMMON_STORE_RESULTS_STORE_H_
#define MERGANSER_COMMON_STORE_RESULTS_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace merganser {

// The part of the store that a worker may use.
class RecordStore {
 public:
  virtual ~RecordStore() = default;

  // Creates the record at `key` (RecordKey). A second write of the same key keeps the first bytes and returns OK if they
  // are equal, AlreadyExists if not. ResourceExhausted above limits::kRecordBytesMax.
  virtual absl::Status PutRecord(const std::string& key, absl::string_view bytes) = 0;
  // NotFound if there is none.
  virtual absl::StatusOr<std::string> GetRecord(const std::string& key) = 0;
  // GetRecord of each key, in order; together where the store can.
  virtual std::vector<absl::StatusOr<std::string>> GetRecords(absl::Span<const std::string> keys) {
    std::vector<absl::StatusOr<std::string>> records;
    for (const std::string& key : keys) records.push_back(GetRecord(key));
    return records;
  }
};

// "result:{job}:candidate:attempt:token".
std::string RecordKey(absl::string_view job_id, int64_t candidate, int attempt, absl::string_view token);

// An event as stored. `seq` counts from 1 without gaps within a job.
struct StoredEvent {
  int64_t seq = 0;
  std::string body;
  bool operator==(const StoredEvent&) const = default;
};

struct StoredJob {
  std::string id;    // "job-1", "job-2", ...
  std::string name;  // of its spec
  std::string spec;  // bytes given to CreateJob
  absl::Time create_time;
};

struct StoredSnapshot {
  int64_t seq = 0;  // state after this event
  std::string body;
};

class ResultsStore : public RecordStore {
 public:
  // Becomes leader if nobody leads or the leader's lease ran out (by the store's clock), raising the epoch by one.
  // Unavailable with the holder's name in the message while another leads.
  virtual absl::StatusOr<int64_t> Lead(const std::string& holder, absl::Duration lease) = 0;
  // Extends the lease of `epoch`. Aborted if another epoch leads.
  virtual absl::Status RenewLead(int64_t epoch, absl::Duration lease) = 0;
  // Ends the lease at once, so that a successor need not wait. OK also when it was lost already.
  virtual absl::Status ReleaseLead(int64_t epoch) = 0;

  // Creates a job and returns its id. The same non-empty request_id within 24 h returns the job it made before.
  // Aborted: stale epoch (so below, wherever an epoch is given).
  virtual absl::StatusOr<std::string> CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                                absl::string_view spec) = 0;
  // All jobs, oldest first.
  virtual absl::StatusOr<std::vector<StoredJob>> ListJobs() = 0;

  // Appends events at seq expected_seq+1, .... The records at `required_records` must exist, or
  // FailedPrecondition. If the log is longer than expected_seq: OK when exactly these events are there already (a repeat),
  // else Aborted. NotFound: no such job. OutOfRange: expected_seq is beyond the log's end.
  virtual absl::Status Append(int64_t epoch, const std::string& job_id, int64_t expected_seq,
                              absl::Span<const std::string> events, absl::Span<const std::string> required_records = {}) = 0;
  // Up to `limit` events with seq > after_seq, in order; fewer before one that cannot be read, which is DataLoss itself.
  virtual absl::StatusOr<std::vector<StoredEvent>> ReadEvents(const std::string& job_id, int64_t after_seq,
                                                              int64_t limit) = 0;

  // Replaces the job's snapshot if `snapshot.seq` is above the stored one's.
  virtual absl::Status PutSnapshot(int64_t epoch, const std::string& job_id, const StoredSnapshot& snapshot) = 0;
  // nullopt if there is none.
  virtual absl::StatusOr<std::optional<StoredSnapshot>> GetSnapshot(const std::string& job_id) = 0;

  // Replaces what the leader keeps of its fleet whatever jobs there are (its quarantines). ResourceExhausted above
  // limits::kRecordBytesMax.
  virtual absl::Status PutFleet(int64_t epoch, absl::string_view body) = 0;
  // "" before the first PutFleet.
  virtual absl::StatusOr<std::string> GetFleet() = 0;

  // "memory:", "sqlite:/path/run.db", "redis://host:6379/0".
  virtual std::string uri() const = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_RESULTS_STORE_H_
